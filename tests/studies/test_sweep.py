"""`deltamask sweep`: real processes, their folders, and what may happen to them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import filelock
import pytest

from deltamask import load_run
from deltamask.cli import main
from deltamask.config import RunConfig
from deltamask.runs import StoreError
from deltamask.runs.folder import RunFolder
from deltamask.runs.status import LOCK, is_alive
from deltamask.studies.experiments import Trial
from deltamask.studies.sweep import Child, Outcome, log_file, run_trials, standings
from tests.support import tiny
from tests.support.commands import COMMAND, quiet, uninterrupted
from tests.support.tiny import timeless

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0  # seconds, on a busy machine

# The command line knows no tiny backbone; the smallest pictures make the real one quick.
FILE = """
title = "Small"
question = "Does it run?"
seeds = [0]
[base]
dataset = "digits"
image_size = 32
train_samples = 120
test_samples = 60
probe_epochs = 2
keep_payloads = "none"
rounds = {rounds}
[arms.paper]
noise = "shared"
[arms.exact]
codec = "gap"
"""


def trial(arm: str, config: RunConfig) -> Trial:
    return Trial("study", arm, arm, config.seed, config)


def swept(trials: Sequence[Trial], root: Path, jobs: int = 2) -> tuple[list[str], dict[str, Outcome]]:
    """(arms started, outcomes by arm)"""
    started: list[str] = []
    outcomes: dict[str, Outcome] = {}

    def ended(outcome: Outcome) -> None:
        assert outcome.trial.arm not in outcomes
        outcomes[outcome.trial.arm] = outcome

    def look(children: Sequence[Child]) -> None:
        assert len(children) <= jobs

    run_trials(
        trials, root, jobs=jobs, threads=1, command=COMMAND,
        on_start=lambda trial: started.append(trial.arm), on_end=ended, look=look,
    )  # fmt: skip
    return started, outcomes


def records(path: Path) -> list[dict[str, object]]:
    return [timeless(record) for record in load_run(path).records]


def test_new_begun_broken_and_busy_runs_side_by_side(tiny_cache: Path, tmp_path: Path) -> None:
    """A new one runs, one cut short goes on, one that fails is reported, one that runs elsewhere is left alone."""
    new, begun, broken, busy = (
        trial(arm, tiny.config(rounds=3, seed=seed)) for seed, arm in enumerate(["new", "begun", "broken", "busy"])
    )
    for each in (begun, broken, busy):
        folder = RunFolder.create(tmp_path / each.folder, each.config)
        quiet(each.config.replace(rounds=1), folder)
    state = tmp_path / broken.folder / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-10])
    RunFolder(tmp_path / busy.folder).write_status(state="running")
    trials = [broken, busy, new, begun]
    with filelock.FileLock(tmp_path / busy.folder / LOCK):
        assert standings(trials, tmp_path) == ["begun", "running", "new", "begun"]
        started, outcomes = swept(trials, tmp_path)
    assert started == ["broken", "new", "begun"]
    assert {arm: (outcome.rounds, outcome.error) for arm, outcome in outcomes.items() if arm != "broken"} == {
        "new": (3, None),
        "begun": (3, None),
        "busy": (1, None),
    }
    assert [arm for arm, outcome in outcomes.items() if outcome.left] == ["busy"]
    assert f"{state} is damaged" in str(outcomes["broken"].error)
    assert f"{state} is damaged" in log_file(tmp_path / broken.folder).read_text()
    for each in (new, begun):
        assert records(tmp_path / each.folder) == uninterrupted(each.config)
    assert standings([new, begun], tmp_path) == ["finished", "finished"]


def test_a_changed_experiment_never_takes_over_a_folder(tiny_cache: Path, tmp_path: Path) -> None:
    config = tiny.config(rounds=1)
    old, other = trial("arm", config), trial("arm", config.replace(lr=0.2, kappa=0.5))
    quiet(config, RunFolder.create(tmp_path / old.folder, config))
    with pytest.raises(StoreError) as caught:
        standings([other, trial("free", config)], tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / old.folder} holds a run of another config (")
    assert "there lr is 0.1, in the experiment 0.2; there kappa is 1.0, in the experiment 0.5" in message
    with pytest.raises(StoreError):
        swept([other], tmp_path)
    assert load_run(tmp_path / old.folder).config == config


def test_a_killed_run_is_reported_with_its_signal(tiny_cache: Path, tmp_path: Path) -> None:
    victim = trial("victim", tiny.config(rounds=2000))
    outcomes: list[Outcome] = []

    def kill(children: Sequence[Child]) -> None:
        for child in children:
            if (child.path / "rounds.jsonl").exists():
                os.kill(child.process.pid, signal.SIGKILL)

    run_trials(
        [victim], tmp_path, jobs=1, threads=1, command=COMMAND,
        on_start=lambda trial: None, on_end=outcomes.append, look=kill,
    )  # fmt: skip
    assert [outcome.error for outcome in outcomes] == ["ended by SIGKILL"]


def test_the_command_stops_its_runs_and_goes_on_where_it_was(tiny_cache: Path, tmp_path: Path) -> None:
    """Ctrl-C reaches the sweep alone; both its runs end in folders that can be resumed."""
    file, out = tmp_path / "small.toml", tmp_path / "out"
    file.write_text(FILE.format(rounds=300))
    paths = [out / "small" / name for name in ("paper-s0", "exact-s0")]
    words = ["sweep", str(file), "--out", str(out), "--jobs", "2", "--threads", "2", "--json"]

    def listen() -> None:  # a shell's background job ignores the key, and its children inherit that
        signal.signal(signal.SIGINT, signal.default_int_handler)

    process = subprocess.Popen(
        [sys.executable, "-m", "deltamask.cli", *words], cwd=ROOT, text=True, preexec_fn=listen,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + PATIENCE
        while not all((path / "rounds.jsonl").exists() and len(load_run(path).records) >= 2 for path in paths):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline, "waited too long"
            time.sleep(0.05)
        assert [load_run(path).state for path in paths] == ["running", "running"]  # at the same time
        assert [load_run(path).task["threads"] for path in paths] == [2, 2]
        process.send_signal(signal.SIGINT)
        printed, said = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert "interrupted: the same command goes on" in said
    assert "Traceback" not in said
    assert printed == ""
    for path in paths:
        run = load_run(path)
        assert (run.state, run.status["message"]) == ("stopped", "interrupted from the keyboard")
        assert not is_alive(path, run.status)
        assert 2 <= len(run.records) < 301


def test_dry_run_lists_what_is_there_and_runs_nothing(
    tiny_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "small.toml", tmp_path / "out"
    file.write_text(FILE.format(rounds=2))
    assert main(["sweep", str(file), "--out", str(out), "--dry-run", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["arm"], row["seed"], row["state"], row["rounds"]) for row in rows] == [
        ("paper", 0, "new", 0),
        ("exact", 0, "new", 0),
    ]
    assert "--codec gap" in rows[1]["command"]
    assert not out.exists()


def test_what_is_finished_is_left_alone(tiny_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "small.toml", tmp_path / "out"
    file.write_text(FILE.format(rounds=1).replace('[arms.exact]\ncodec = "gap"\n', ""))
    words = ["sweep", str(file), "--out", str(out), "--jobs", "1", "--json"]
    assert main(words) == 0
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())
    path = out / "small" / "paper-s0"
    assert row == {
        "experiment": "small", "arm": "paper", "seed": 0, "path": str(path), "state": "finished", "rounds": 1,
        "error": None,
    }  # fmt: skip
    before = {each: each.stat().st_mtime_ns for each in path.iterdir()}
    assert main(words) == 0
    assert {each: each.stat().st_mtime_ns for each in path.iterdir()} == before
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "1 of 1 runs are finished already" in captured.err

    file.write_text(file.read_text().replace("probe_epochs = 2", "probe_epochs = 3"))
    assert main(words) == 1
    assert "there probe_epochs is 2, in the experiment 3" in capsys.readouterr().err


def test_bad_arguments_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "small.toml"
    file.write_text(FILE.format(rounds=2))
    assert main(["sweep", str(file), "--jobs", "0"]) == 2
    assert "jobs = 0, threads = 1 is out of range" in capsys.readouterr().err
    assert main(["sweep"]) == 2
    assert "name at least one experiment file" in capsys.readouterr().err
    assert main(["sweep", str(tmp_path / "none.toml")]) == 1
    assert "none.toml" in capsys.readouterr().err
