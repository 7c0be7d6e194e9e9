"""What cannot be run is refused before it costs anything, and paths mean the same from everywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deltamask import RunConfig, load_run
from deltamask.base import paths
from deltamask.cli import main
from deltamask.config import located
from deltamask.runs.folder import RunFolder, write_json
from deltamask.runs.status import read_json
from deltamask.studies.experiments import read_experiment
from deltamask.studies.sweep import standing
from tests.support import tiny
from tests.support.commands import quiet
from tests.support.photographs import photographs
from tests.support.tiny import flags

SAY_WHAT_WAS_LOADED = """
import sys
from deltamask.cli import main
status = main(sys.argv[1:])
print(status, [name for name in ("torch", "numba") if name in sys.modules])
"""
LITTLE = ["--clients", "2", "--min-client-samples", "2"]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--dataset", "folder:nowhere"], "nowhere: no such folder"),
        (["--dataset", "folder:photos/cats"], "no class folders"),
        (["--dataset", "folder:photos", "--clients", "10000", "--train-samples", "10000000"], "10000 clients × 8"),
        (["--dataset", "folder:photos", "--partition", "natural"], "has none: choose another partition"),
        (["--dataset", "folder:photos", *LITTLE, "--weights", "missing.safetensors"], "no such file"),
        (["--dataset", "digits", "--clients", "1000", "--train-samples", "10000000"], "1000 clients × 8"),
    ],
)
def test_what_needs_no_torch_is_refused_without_it_and_leaves_no_folder(
    tmp_path: Path, options: list[str], why: str
) -> None:
    photographs(tmp_path / "photos", count=6)
    answer = subprocess.run(
        [sys.executable, "-c", SAY_WHAT_WAS_LOADED, "run", *options], capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert why in answer.stderr
    assert answer.stdout.split(maxsplit=1)[0] in ("1", "2")
    assert answer.stdout.split(maxsplit=1)[1].strip() == "[]"
    assert {path.name for path in tmp_path.iterdir()} == {"photos"}


def test_a_run_that_never_began_leaves_no_folder(
    tiny_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *flags(tiny.config(masked_blocks=9)), "--out", str(tmp_path / "run")]) == 1
    assert "masked_blocks = 9" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_there_stays_and_says_why(tiny_cache: Path, tmp_path: Path) -> None:
    """As one that the page has queued: somebody looks there for the reason."""
    (tmp_path / "run").mkdir()
    assert main(["run", *flags(tiny.config(masked_blocks=9)), "--out", str(tmp_path / "run")]) == 1
    run = load_run(tmp_path / "run")
    assert run.state == "failed"
    assert "masked_blocks = 9" in run.status["message"]


def test_a_run_goes_on_from_any_folder(
    tiny_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photographs(tmp_path / "a" / "photos", count=12)
    monkeypatch.chdir(tmp_path / "a")
    config = tiny.config(dataset="folder:photos", clients=2, min_client_samples=2, rounds=1, probe_epochs=1)
    assert main(["run", *flags(config), "--out", "run"]) == 0
    stored = load_run("run").config
    assert stored.dataset == f"folder:{tmp_path}/a/photos"
    longer = {**read_json(Path("run/config.json")), "config": stored.replace(rounds=2).model_dump()}
    write_json(Path("run/config.json"), longer)
    monkeypatch.chdir(tmp_path)
    assert main(["resume", "a/run"]) == 0
    assert len(load_run("a/run").records) == 3


def test_a_home_and_variables_stand_for_the_same_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PICTURES", str(tmp_path / "pictures"))
    photographs(tmp_path / "pictures", count=2)
    for text in ("~/pictures", "$PICTURES", "${PICTURES}", str(tmp_path / "pictures")):
        assert located(RunConfig(dataset=f"folder:{text}")).dataset == f"folder:{tmp_path}/pictures"
        assert located(RunConfig(dataset=f"clients:{text}")).dataset == f"clients:{tmp_path}/pictures"
        assert located(RunConfig(weights=text)).weights == str(tmp_path / "pictures")
        for what, place in {"DATA": paths.data_dir, "CACHE": paths.cache_dir, "RUNS": paths.runs_dir}.items():
            monkeypatch.setenv(f"DELTAMASK_{what}", text)
            assert place() == tmp_path / "pictures"
            monkeypatch.delenv(f"DELTAMASK_{what}")


@pytest.mark.parametrize("option", ["--dataset", "--out"])
def test_the_command_line_expands_them(
    tiny_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "photos", count=12)
    config = tiny.config(clients=2, min_client_samples=2, rounds=1, probe_epochs=1)
    given = {"--dataset": f"folder:{tmp_path}/photos", "--out": str(tmp_path / "run")}
    given[option] = {"--dataset": "folder:~/photos", "--out": "~/run"}[option]
    words = [word for pair in given.items() for word in pair]
    assert main(["run", *flags(config)[: flags(config).index("--dataset")], *words,
                 *flags(config)[flags(config).index("--dataset") + 2 :]]) == 0  # fmt: skip
    assert load_run(tmp_path / "run").config.dataset == f"folder:{tmp_path}/photos"


def test_names_that_are_no_paths_stay_as_they_are() -> None:
    for config in (RunConfig(), RunConfig(dataset="digits", weights="random", backbone="timm:deit_small_patch16_224")):
        assert located(config) is config
    assert located(RunConfig(dataset="folder:")).dataset == "folder:"  # refused later, with the reason


def test_a_sweep_finds_its_runs_again_from_another_folder(
    tiny_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one of an earlier revision, which stored the path as it was typed."""
    photographs(tmp_path / "photos", count=12)
    fields = tiny.config(clients=2, min_client_samples=2, rounds=1, dataset="folder:photos").model_dump()
    base = "\n".join(f"{name} = {json.dumps(value)}" for name, value in fields.items() if name != "seed")
    head = 'title = "t"\nquestion = "q"\nseeds = [0]\n'
    (tmp_path / "mine.toml").write_text(f"{head}[base]\n{base}\n[arms.a]\nlr = 0.2\n")
    monkeypatch.chdir(tmp_path)
    (trial,) = read_experiment(Path("mine.toml")).trials
    assert trial.config.dataset == f"folder:{tmp_path}/photos"
    config = trial.config.replace(dataset="folder:photos")
    quiet(config, RunFolder.create(tmp_path / trial.folder, config))
    assert standing(trial, tmp_path / trial.folder) == "finished"
