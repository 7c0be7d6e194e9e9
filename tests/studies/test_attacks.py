"""What a liar costs, from tables of figures that are made up here: paired by seed with the honest, unprotected run."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from deltamask.studies import attacks, tables
from deltamask.studies.document import draft, render
from deltamask.studies.experiments import Experiment, read_experiment
from deltamask.studies.tables import Results

T2 = 4.302653  # Student's t, 97.5 %, two degrees of freedom
FILE = """
title = "Liars"
question = "What does a liar cost?"
seeds = [0, 1, 2]
[base]
rounds = 1
[arms.plain]
method = "fedpm"
attack = ["none", "zero-mask"]
[arms.protected]
method = "fedpm"
robust = "clip"
attack = ["none", "zero-mask"]
[arms.many]
method = "fedpm"
clients = 30
attack = ["none", "zero-mask"]
"""
ACCURACY = {
    "plain-none": (0.80, 0.82, 0.84),
    "plain-zero-mask": (0.10, 0.14, 0.12),  # −70, −68, −72
    "protected-none": (0.80, 0.81, 0.84),  # 0, −1, 0
    "protected-zero-mask": (0.79, 0.80, 0.82),  # −1, −2, −2
    "many-none": (0.70, 0.71, 0.72),
    "many-zero-mask": (0.69, 0.71, 0.72),
}


def study(tmp_path: Path, accuracy: dict[str, tuple[float, ...]] = ACCURACY) -> tuple[Experiment, Results]:
    """Results of one round a run, with these accuracies by seed."""
    file = tmp_path / "liars.toml"
    file.write_text(FILE)
    experiment = read_experiment(file)
    rows = [
        {"experiment": "liars", "arm": arm, "seed": seed, "round": 1, "accuracy": value, "clients": 5, "dropped": 0,
         "bpp_up": 1.0, "bpp_down": 1.0, "uplink_bytes": 1.0, "downlink_bytes": 1.0}
        for arm, values in accuracy.items()
        for seed, value in enumerate(values)
    ]  # fmt: skip
    rounds = pd.DataFrame(rows, columns=[*tables.KEY, *tables.RECORDED, "clients", "dropped"])
    labels = {("liars", arm.name): arm.label for arm in experiment.arms}
    return experiment, Results([experiment], [], rounds, tables.summarise(rounds, labels), {})


def lines(experiment: Experiment, results: Results) -> list[attacks.Line]:
    return attacks.lines({(experiment.name, arm.name): arm.config for arm in experiment.arms}, results.rounds)


def test_what_was_lost_is_counted_from_the_honest_unprotected_run_of_the_same_seed(tmp_path: Path) -> None:
    found = {(line.liars, line.attack, line.protection): line for line in lines(*study(tmp_path))}
    assert len(found) == 6
    lie = found["1 of 5", "zero-mask", ""]
    assert (lie.setting, lie.method, lie.lie) == ("FedPM", "fedpm", "Zero mask")
    assert lie.accuracy == pytest.approx((0.12, T2 * 0.02 / 3**0.5, 3), rel=1e-5)
    assert lie.lost == pytest.approx((-70, T2 * 2 / 3**0.5, 3), rel=1e-5)
    assert found["1 of 5", "none", "clip"].lost.mean == pytest.approx(-1 / 3)  # what protection costs an honest run
    assert found["1 of 5", "zero-mask", "clip"].lost.mean == pytest.approx(-5 / 3)
    assert found["1 of 30", "zero-mask", ""].lost.mean == pytest.approx(-1 / 3)  # from the honest run of thirty


def test_the_document_has_them_side_by_side_and_says_the_worst(tmp_path: Path) -> None:
    experiment, results = study(tmp_path)
    assert "<!-- made: attacks liars -->" in draft([experiment])
    made = render("<!-- made: attacks liars --><!-- /made -->", results).splitlines()
    row = "| FedPM | 1 of 5 | Zero mask | 0.1200 ± 0.0497 | -70.00 ± 4.97 | clip | 0.8033 ± 0.0379 | -1.67 ± 1.43 |"
    assert row in made
    assert sum(line.startswith("| FedPM |") for line in made) == 4
    assert "| FedPM | 1 of 30 | Zero mask | 0.7067 ± 0.0379 | -0.33 ± 1.43 | – | – | – |" in made
    worst = "without protection -70.00 (FedPM, zero mask), with it -1.67 (FedPM, zero mask)"
    assert f"Liars: 1 of 5. The worst of these, in points: {worst}. The aim: with it, at least -5." in made
    assert any(line.startswith("Liars: 1 of 30. The worst of these, in points: without") for line in made)


def test_runs_that_are_missing_are_left_out_and_none_are_no_table(tmp_path: Path) -> None:
    alone = {"plain-zero-mask": ACCURACY["plain-zero-mask"], "protected-zero-mask": (0.79,)}
    found = lines(*study(tmp_path, alone))
    assert [(line.accuracy.of, line.lost.of) for line in found] == [(3, 0), (1, 0)]
    experiment, results = study(tmp_path, {})
    assert lines(experiment, results) == []
    assert "No finished runs yet" in render("<!-- made: attacks liars --><!-- /made -->", results)


def test_a_study_without_liars_has_no_such_block(tmp_path: Path) -> None:
    file = tmp_path / "honest.toml"
    file.write_text(FILE.replace(', "zero-mask"', "").replace("Liars", "Honest"))
    experiment = read_experiment(file)
    assert "made: attacks" not in draft([experiment])


def test_no_text_of_an_experiment_is_markup_in_the_document(tmp_path: Path) -> None:
    """Labels, titles and questions may be anybody's: no tag, no image, no cell of their own, no mark of a block."""
    evil = "<img src=x> | ![i](http://out.side/p.png) <!-- /made --> <!-- made: table x -->"
    file = tmp_path / "liars.toml"
    file.write_text(FILE.replace('"Liars"', f"'{evil}'").replace('"What does a liar cost?"', f"'{evil}'")
                    .replace("[arms.plain]", f"[arms.plain]\nlabel = '{evil}'"))  # fmt: skip
    text_of_file = file.read_text()
    _, results = study(tmp_path)
    file.write_text(text_of_file)
    experiment = read_experiment(file)
    labels = {("liars", arm.name): arm.label for arm in experiment.arms}
    results = Results([experiment], [], results.rounds, tables.summarise(results.rounds, labels), {})
    text = draft([experiment])
    for _ in range(2):  # made again, it stays whole
        text = render(text, results)
    own = re.sub(r"<!-- (/made|made: [a-z]+ liars) -->|</?(details|summary)>", "", text)
    assert "<" not in own
    assert "](http" not in own
    assert "&lt;img src=x> \\| ![i]\\(http" in own
