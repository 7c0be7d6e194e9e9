"""Experiment files: what they expand to, and what is said of a wrong one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deltamask.config.presets import PRESETS
from deltamask.studies.document import BLOCK
from deltamask.studies.experiments import ExperimentError, read_experiment

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "experiments").glob("*.toml"))

GOOD = """
title = "A title"
question = "A question?"
seeds = [3, 4]
[base]
preset = "fashion-unbiased"
rounds = 7
[arms.plain]
[arms.filter]
label = "Filter"
codec = ["gap", "rice"]
kappa = [0.5, 1.0]
lr = 0.3
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_list_makes_an_arm_of_each_combination(tmp_path: Path) -> None:
    experiment = read_experiment(written(tmp_path, GOOD))
    assert (experiment.name, experiment.title, experiment.question) == ("study", "A title", "A question?")
    assert [(arm.name, arm.label) for arm in experiment.arms] == [
        ("plain", "plain"),
        ("filter-gap-kappa0.5", "Filter, gap, kappa 0.5"),
        ("filter-gap-kappa1.0", "Filter, gap, kappa 1.0"),
        ("filter-rice-kappa0.5", "Filter, rice, kappa 0.5"),
        ("filter-rice-kappa1.0", "Filter, rice, kappa 1.0"),
    ]
    base = PRESETS["fashion-unbiased"].replace(rounds=7)
    assert [trial.config for trial in experiment.trials[:2]] == [
        base.replace(seed=3),
        base.replace(seed=3, codec="gap", kappa=0.5, lr=0.3),
    ]


def test_trials_go_seed_by_seed_each_to_its_folder(tmp_path: Path) -> None:
    trials = read_experiment(written(tmp_path, GOOD)).trials
    assert [trial.config.seed for trial in trials] == [3] * 5 + [4] * 5
    assert [str(trial.folder) for trial in trials[4:6]] == ["study/filter-rice-kappa1.0-s3", "study/plain-s4"]
    assert len({trial.folder for trial in trials}) == 10


def test_an_arm_may_have_fewer_seeds(tmp_path: Path) -> None:
    trials = read_experiment(written(tmp_path, GOOD.replace("lr = 0.3", "lr = 0.3\nseeds = [4]"))).trials
    assert [trial.seed for trial in trials if trial.arm == "plain"] == [3, 4]
    filters = [trial for trial in trials if trial.arm.startswith("filter")]
    assert [trial.seed for trial in filters] == [trial.config.seed for trial in filters] == [4, 4, 4, 4]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("lr = 0.3", "lr = -1", "arms.filter: lr = -1 is out of range: 0 < lr ≤ 10"),
        ("lr = 0.3", "learning = 1", "arms.filter: learning: no such field; fields: method, "),
        ("lr = 0.3", "dataset = 'mnisst'", "arms.filter: unknown dataset 'mnisst'"),
        ("lr = 0.3", "min_client_samples = 5000", "arms.filter: clients × min_client_samples = 5 × 5000"),
        ("[0.5, 1.0]", "[0.5, 2.0]", "arms.filter: kappa = 2.0 is out of range: 0 < kappa ≤ 1"),
        ("[0.5, 1.0]", "[]", "arms.filter: kappa: the list is empty"),
        ("rounds = 7", "rounds = 0", "base: rounds = 0 is out of range: 1 ≤ rounds ≤ 10000"),
        ("rounds = 7", "seed = 7", "base: seed: `seeds` says which"),
        ("rounds = 7", "rounds = [7, 8]", "base: rounds: only an arm may list values"),
        ('"fashion-unbiased"', '"fashon"', "base: unknown preset 'fashon'; presets: fashion, "),
        ("lr = 0.3", "seed = 1", "arms.filter: seed: `seeds` says which"),
        ("lr = 0.3", "seeds = [5]", "arms.filter: seeds: some of the experiment's [3, 4], as a list"),
        ("lr = 0.3", "seeds = 3", "arms.filter: seeds: some of the experiment's [3, 4], as a list"),
        ("[3, 4]", "[3, 3]", "seeds = [3, 3]: each counts once"),
        ("[3, 4]", "[-1]", "seeds: a list of whole numbers from 0 is needed"),
        ("[3, 4]", "3", "seeds: a list of whole numbers from 0 is needed"),
        ('title = "A title"', "", "title: a text is needed"),
        ("[base]", "grid = 3\n[base]", "grid: no such key; keys: title, question, seeds, base, arms"),
        ("[arms.plain]", "[arms.'a b']", "arms.a b: a name is made of small letters"),
        ("[arms.plain]", "[arms.plain]\n[arms.same]", "arms.same: the same run as arms.plain"),
        ("[arms.plain]", "[arms.filter-gap-kappa0'5]", "no valid TOML"),
        ("[arms.plain]", '[arms."filter-gap-kappa0.5"]\nlr=1', "arms.filter-gap-kappa0.5: there are two of this name"),
    ],
)
def test_a_wrong_file_is_refused_with_file_arm_and_field(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    path = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(ExperimentError) as caught:
        read_experiment(path)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    assert any(line.removeprefix(f"{path}: ").startswith(complaint) for line in lines), lines


def test_a_file_without_arms_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"arms: at least one table \[arms.NAME\] is needed"):
        read_experiment(written(tmp_path, GOOD[: GOOD.index("[arms.plain]")]))


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError) as caught:
        read_experiment(written(tmp_path, GOOD.replace("lr = 0.3", "lr = -1\nrho = 2").replace("[0.5, 1.0]", "[0.5]")))
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_experiments_that_ship_are_valid_and_the_document_shows_them(path: Path) -> None:
    assert read_experiment(path).trials
    document = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    shown = {tuple(block["what"].split()[:2]) for block in BLOCK.finditer(document)}
    assert {("table", path.stem), ("choices", path.stem), ("attacks", path.stem)} & shown
    assert ("settings", path.stem) in shown


@pytest.mark.parametrize("path", sorted((ROOT / "experiments" / "planned").glob("*.toml")), ids=lambda path: path.stem)
def test_the_experiments_that_are_still_to_run_are_valid(path: Path) -> None:
    assert read_experiment(path).trials


def test_headline_tables_have_three_seeds() -> None:
    for name in ("headline", "noniid"):
        text = (ROOT / "experiments" / f"{name}.toml").read_text(encoding="utf-8")
        assert re.search(r"^seeds = \[0, 1, 2\]$", text, re.M)
