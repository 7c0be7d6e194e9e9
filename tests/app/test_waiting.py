"""The queue: who waits is on disk, in order, and nothing torn stops it. That runs really start: test_browser.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab.controls import GROUPS, LABELS
from lab.effects import EFFECTS
from ui import waiting

from deltamask.config import RunConfig
from deltamask.runs.folder import RunFolder, write_json
from deltamask.runs.reader import list_runs


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runs folder in which one run is under way: this very process claims to be it."""
    monkeypatch.setenv("DELTAMASK_RUNS", str(tmp_path / "runs"))
    busy = RunFolder.create(tmp_path / "runs" / "busy", RunConfig())
    busy.write_status(state="paused")
    return tmp_path / "runs"


@pytest.fixture(autouse=True)
def no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing starts behind a test's back."""
    monkeypatch.setattr(waiting, "_start_all", lambda: None)


def test_who_asks_while_a_run_is_under_way_waits_in_order(runs: Path) -> None:
    folders = [waiting.ask_for(RunConfig(seed=seed)) for seed in (3, 1, 1)]
    assert len(set(folders)) == 3  # the same config twice gets a folder each
    assert [entry.path.name for entry in waiting.waiting()] == [folder.name for folder in folders]
    assert [entry.config.seed for entry in waiting.waiting()] == [3, 1, 1]
    assert waiting.at_work() == ["busy"]
    assert [run.id for run in list_runs(runs)] == ["busy"]  # who waits is no run yet


def test_torn_entries_are_passed_over(runs: Path) -> None:
    folder = waiting.ask_for(RunConfig())
    for name, content in (("a", "{torn"), ("b", "[]"), ("c", '{"config": {"kappa": 9}, "asked": "", "resume": false}')):
        (runs / name).mkdir()
        (runs / name / waiting.QUEUED).write_text(content)
    assert [entry.path.name for entry in waiting.waiting()] == [folder.name]


def test_giving_up_frees_the_name_of_a_new_run_and_keeps_an_old_one(runs: Path) -> None:
    folder = waiting.ask_for(RunConfig())
    old = RunFolder.create(runs / "old", RunConfig(seed=5))
    write_json(old.path / "status.json", {"state": "stopped"})
    (stopped,) = [run for run in list_runs(runs) if run.id == "old"]
    waiting.ask_again(stopped)
    first, second = waiting.waiting()
    assert (first.resume, second.resume) == (False, True)
    waiting.give_up(first)
    waiting.give_up(second)
    assert waiting.waiting() == []
    assert not folder.exists()
    assert (runs / "old" / "config.json").exists()


def test_a_dead_process_holds_no_place(runs: Path) -> None:
    write_json(runs / "busy" / "status.json", {"state": "running", "pid": 2**22 + 1, "pid_started": 0.0})
    assert waiting.at_work() == []


def test_every_field_has_a_control_and_says_what_it_does() -> None:
    fields = set(RunConfig.model_fields)
    assert fields <= {name for names in GROUPS.values() for name in names}
    assert fields <= LABELS.keys()
    assert fields <= EFFECTS.keys()
