"""The `deltamask` command: what it refuses, with which words, and what it prints for programs."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from deltamask import RunConfig, backbones, datasets, list_runs, load_run
from deltamask.cli import main
from deltamask.config import field_range
from deltamask.config.presets import PRESETS, preset
from tests.config.test_config import CHOICES, NUMERIC, outside
from tests.support import real_formats, tiny


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for runs."""
    monkeypatch.setenv("DELTAMASK_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.mark.parametrize("name", NUMERIC)
def test_a_field_out_of_range_is_refused_with_field_value_and_range(
    name: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for value in outside(name):
        assert main(["run", f"--{name.replace('_', '-')}", str(value)]) == 2
        assert capsys.readouterr().err.strip() == f"deltamask: {name} = {value!r} is out of range: {field_range(name)}"
    assert not runs.exists()


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_what_is_not_finite_is_refused(value: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--kappa", value]) == 2
    assert f"kappa = {value} is out of range: 0 < kappa ≤ 1" in capsys.readouterr().err
    assert not runs.exists()


@pytest.mark.parametrize(
    ("name", "value"), [("kappa", "much"), ("rounds", "2.5"), *((name, "bogus") for name in CHOICES)]
)
def test_a_value_of_the_wrong_kind_is_refused_by_name(
    name: str, value: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["run", f"--{name.replace('_', '-')}", value])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert f"--{name.replace('_', '-')}" in said
    assert value in said
    assert not runs.exists()


def test_fields_that_clash_are_refused(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--clients", "1000"]) == 2
    assert "1000 × 8 = 8000 exceeds train_samples = 6000" in capsys.readouterr().err
    assert not runs.exists()


@pytest.mark.parametrize(
    ("kind", "names"), [("dataset", datasets.names()), ("backbone", backbones.names()), ("preset", list(PRESETS))]
)
def test_an_unknown_name_is_refused_with_the_names_that_exist(
    kind: str, names: list[str], runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", f"--{kind}", "nowhere"]) == 2
    said = capsys.readouterr().err
    assert f"deltamask: unknown {kind} 'nowhere'" in said
    assert all(name in said for name in names)
    assert not runs.exists()


def test_too_many_masked_blocks_are_refused(tiny_cache: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *tiny.flags(tiny.config(masked_blocks=9))]) == 1
    assert "masked_blocks = 9: tiny has 3 blocks, and at least one must stay frozen" in capsys.readouterr().err


@pytest.mark.parametrize("form", [["--preset", "quick"], ["--preset=quick"]])
def test_a_preset_gives_the_defaults_and_options_go_before_it(form: list[str], tiny_cache: Path, runs: Path) -> None:
    options = {"backbone": "tiny", "dataset": "digits", "image_size": 32, "rounds": 1, "kappa": 0.5, "probe_epochs": 1}
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    assert main(["run", *form, *words]) == 0
    (run,) = list_runs(runs)
    assert run.config == preset("quick").replace(**options)
    assert run.id == run.config.run_id
    assert run.state == "finished"


def test_runs_show_and_export(tiny_cache: Path, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tiny.config()
    for _ in range(2):  # the same config twice: two folders
        assert main(["run", *tiny.flags(config)]) == 0
    said = capsys.readouterr()
    assert said.out == ""  # what is for people goes to stderr
    assert "round    2/2  accuracy" in said.err
    assert "2 rounds: accuracy" in said.err

    assert main(["runs", "--json"]) == 0
    rows = {row["run"]: row for row in json.loads(capsys.readouterr().out)}
    assert {config.run_id, f"{config.run_id}-2"} <= rows.keys()
    row = rows[config.run_id]
    run = load_run(config.run_id)
    assert (row["state"], row["rounds"], row["accuracy"]) == ("finished", 2, run.summary()["accuracy"])
    assert Path(row["path"]) == runs / config.run_id

    assert main(["runs"]) == 0
    assert f"{run.summary()['accuracy']:.4f}" in capsys.readouterr().out

    assert main(["show", config.run_id, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["rounds"] == run.records
    assert RunConfig(**shown["config"]) == config
    assert shown["summary"] == run.summary()
    assert shown["task"]["d"] == tiny.D

    assert main(["show", str(runs / config.run_id)]) == 0
    said_of_run = capsys.readouterr().out
    assert "deltamask run --backbone tiny" in said_of_run
    assert f"{run.records[2]['accuracy']:.4f}" in said_of_run

    assert main(["export", config.run_id, "--out", str(tmp_path / "run.zip")]) == 0
    with zipfile.ZipFile(tmp_path / "run.zip") as archive:
        assert f"{config.run_id}/rounds.jsonl" in archive.namelist()
    capsys.readouterr()
    assert main(["export", config.run_id, "--out", str(tmp_path / "run.pdf")]) == 1
    assert "ends in .zip, .csv, .json or .ipynb" in capsys.readouterr().err

    assert main(["run", *tiny.flags(config), "--out", str(runs / config.run_id)]) == 1
    assert f"deltamask resume {runs / config.run_id}" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["show", "resume", "export"])
def test_a_run_that_is_not_there_says_where_it_was_looked_for(
    command: str, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "nothing-here"]) == 1
    said = capsys.readouterr().err
    assert "no run 'nothing-here'" in said
    assert str(runs / "nothing-here") in said
    assert "`deltamask runs` lists them" in said


def test_doctor_tells_programs_what_works_here(tiny_cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    promised = {"healthy", "deltamask", "git_revision", "python", "machine", "threads", "packages", "cache"}
    assert promised | {"datasets", "backbones"} <= report.keys()
    assert report["healthy"] is True
    assert {entry["name"] for entry in report["datasets"]} == set(datasets.names())
    for entry in report["datasets"] + report["backbones"]:
        assert {"name", "available", "reason", "bytes", "licence", "how_to_get"} <= entry.keys()
    available = {entry["name"]: entry["available"] for entry in report["datasets"] + report["backbones"]}
    assert available["digits"]
    assert available["fashion-mnist-mini"]
    assert available["efficientnet_lite0"]
    assert "tiny" not in available  # test-only
    assert report["cache"]["path"] == str(tiny_cache)
    assert report["packages"]["torch"]


def test_doctor_counts_the_cache_and_sees_when_it_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "a.npy").write_bytes(bytes(1234))
    monkeypatch.setenv("DELTAMASK_CACHE", str(tmp_path))
    main(["doctor", "--json"])
    cache = json.loads(capsys.readouterr().out)["cache"]
    assert cache == {"path": str(tmp_path), "bytes": 1234, "files": 1, "writable": True}
    assert main(["doctor"]) == 0
    assert "efficientnet_lite0" in capsys.readouterr().out


def test_doctor_says_what_to_do_about_missing_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DELTAMASK_DATA", str(tmp_path))
    main(["doctor", "--json"])
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)["datasets"]}
    assert entries["fashion-mnist-mini"]["available"] is False
    assert "DELTAMASK_DATA" in entries["fashion-mnist-mini"]["reason"]


def test_doctor_tells_an_incomplete_dataset_from_a_missing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DELTAMASK_DATA", str(tmp_path))
    real_formats.svhn(tmp_path)
    (tmp_path / "svhn" / "test_32x32.mat").unlink()
    real_formats.cifar100_python(tmp_path)
    main(["doctor", "--json"])
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)["datasets"]}
    assert entries["svhn"]["available"] is False
    assert f"{tmp_path / 'svhn'} is incomplete, test_32x32.mat missing" in entries["svhn"]["reason"]
    assert (entries["svhn"]["bytes"], entries["svhn"]["licence"]) == (246_316_178, "for non-commercial use only")
    assert entries["cifar-100"]["available"] is False
    assert f"{tmp_path / 'cifar-100-python'} is here, but that is the Python version" in entries["cifar-100"]["reason"]
    assert "`deltamask download food-101`" in entries["food-101"]["reason"]


def test_help_explains_every_field_with_its_range() -> None:
    """The installed command itself, in a process of its own."""
    command = Path(sys.executable).parent / "deltamask"
    answer = subprocess.run(
        [command, "run", "--help"], capture_output=True, text=True, check=True, env={"COLUMNS": "400"}
    )
    said = " ".join(answer.stdout.replace("│", " ").split())
    for name in RunConfig.model_fields:
        assert f"--{name.replace('_', '-')}" in said, name
    for name in NUMERIC:
        assert f"Range: {field_range(name)}." in said, name
    for name in PRESETS:
        assert name in said
