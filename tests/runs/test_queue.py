"""The queue: who waits is on disk, in order, and nothing stops it. That runs really end: test_browser.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import filelock
import pytest

from deltamask.config import RunConfig
from deltamask.runs import queue
from deltamask.runs.folder import RunFolder, is_run_id, write_json
from deltamask.runs.reader import list_runs, load_run
from deltamask.runs.status import LOCK, is_alive, read_json


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runs folder in which one run is under way: this very process claims to be it."""
    monkeypatch.setenv("DELTAMASK_RUNS", str(tmp_path / "runs"))
    busy = RunFolder.create(tmp_path / "runs" / "busy", RunConfig())
    busy.write_status(state="paused")
    with filelock.FileLock(busy.path / LOCK):
        yield tmp_path / "runs"


@pytest.fixture(autouse=True)
def no_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing starts behind a test's back, and no process outlives it."""
    monkeypatch.setattr(queue, "_start_all", lambda: None)
    yield
    for child in queue._children:
        child.kill()
        child.wait()
    queue.reap()


def end(runs: Path) -> None:
    """The run that was under way has ended."""
    write_json(runs / "busy" / "status.json", {"state": "stopped"})


def test_runs_wait_in_the_order_in_which_they_were_asked_for(runs: Path) -> None:
    folders = [queue.submit(RunConfig(seed=seed)) for seed in (3, 1, 1)]
    assert len(set(folders)) == 3  # the same config twice gets a folder each
    assert [entry.id for entry in queue.waiting()] == [folder.name for folder in folders]
    assert [entry.config.seed for entry in queue.waiting()] == [3, 1, 1]
    assert queue.active() == ["busy"]
    assert [run.id for run in list_runs(runs)] == ["busy"]  # who waits is no run yet


def test_removing_an_entry_frees_the_name_of_a_new_run_and_keeps_an_old_one(runs: Path) -> None:
    folder = queue.submit(RunConfig())
    old = RunFolder.create(runs / "old", RunConfig(seed=5))
    write_json(old.path / "status.json", {"state": "stopped"})
    queue.submit_again(load_run(old.path))
    queue.submit_again(load_run(old.path))
    first, second = queue.waiting()  # not a third
    assert (first.resume, second.resume) == (False, True)
    queue.remove(first)
    queue.remove(second)
    assert queue.waiting() == []
    assert not folder.exists()
    assert (runs / "old" / "config.json").exists()


def test_a_dead_process_holds_no_place(runs: Path) -> None:
    (runs / "dead").mkdir()
    write_json(runs / "dead" / "status.json", {"state": "running", "pid": 2**22 + 1, "pid_started": 0.0})
    assert queue.active() == ["busy"]


def test_a_status_that_is_none_holds_no_place(runs: Path) -> None:
    for name, content in (("a", "[]"), ("b", '{"state": ["running"]}'), ("c", "{torn"), ("d", '"running"')):
        (runs / name).mkdir()
        (runs / name / "status.json").write_text(content)
    assert queue.active() == ["busy"]


def test_run_folders_cannot_ask_for_anything(runs: Path) -> None:
    entry = {"config": RunConfig().model_dump(), "asked": "2025-01-01", "resume": True, "run": "busy"}
    for folder in ("busy", "busy/.queue"):
        (runs / folder).mkdir(exist_ok=True)
        write_json(runs / folder / "queued.json", entry)
        write_json(runs / folder / f"{1:020d}.json", entry)
    assert queue.waiting() == []


BAD = ["{torn", "[]", "[" * 100_000, "{}", '{"run": "../busy", "resume": true, "config": {}}',
       '{"run": "held", "resume": false, "config": {"kappa": 9}}']  # fmt: skip


def test_entries_that_say_nothing_are_removed_when_their_turn_comes(runs: Path) -> None:
    place = runs / queue.PLACE
    place.mkdir()
    (runs / "held").mkdir()
    for number, content in enumerate(BAD):
        (place / f"{number:020d}.json").write_text(content)
    good = queue.submit(RunConfig())
    assert [entry.id for entry in queue.waiting()] == [good.name]
    end(runs)
    queue.start_next()
    assert list(place.iterdir()) == []
    assert "kappa = 9 is out of range" in (runs / "held" / queue.LOG).read_text()
    assert is_alive(good, read_json(good / "status.json"))


def test_a_run_that_cannot_start_is_failed_and_the_next_one_starts(runs: Path) -> None:
    bad = queue.submit(RunConfig(seed=1))
    good = queue.submit(RunConfig(seed=2))
    (bad / queue.LOG).mkdir()  # its log cannot be written
    end(runs)
    queue.start_next()
    assert queue.waiting() == []
    failed = load_run(bad)
    assert failed.state == "failed"
    assert "the run cannot be started: " in failed.status["message"]
    assert failed.config.seed == 1
    assert is_alive(good, read_json(good / "status.json"))
    assert queue.active() == [good.name]


@pytest.mark.parametrize("name", ["folder:/a\0b", "folder:/a\ud800b"])
def test_names_that_no_argument_can_hold_do_not_block_the_next(runs: Path, name: str) -> None:
    """RunConfig refuses them; here an entry has them all the same."""
    bad, good = queue.submit(RunConfig(seed=1)), queue.submit(RunConfig(seed=2))
    (file,) = [file for file in (runs / queue.PLACE).iterdir() if bad.name in file.read_text()]
    entry = json.loads(file.read_text())
    file.write_text(json.dumps({**entry, "config": {**entry["config"], "dataset": name}}))
    end(runs)
    queue.start_next()
    assert queue.waiting() == []
    assert "holds a control character" in (bad / queue.LOG).read_text()
    assert queue.active() == [good.name]


def test_a_folder_that_is_gone_does_not_block_the_next(runs: Path) -> None:
    gone, good = queue.submit(RunConfig(seed=1)), queue.submit(RunConfig(seed=2))
    gone.rmdir()
    end(runs)
    queue.start_next()
    assert queue.active() == [good.name]
    assert queue.waiting() == []


def test_only_one_starts_and_another_beside_it_on_demand(runs: Path) -> None:
    first, second = queue.submit(RunConfig(seed=1)), queue.submit(RunConfig(seed=2))
    end(runs)
    queue.start_next()
    queue.start_next()
    assert queue.active() == [first.name]
    (entry,) = queue.waiting()
    queue.start_now(entry)
    queue.start_now(entry)  # from another tab: it has begun already
    assert sorted(queue.active()) == sorted([first.name, second.name])
    assert len(queue._children) == 2


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "a\0", "x" * 256, None, 5, ["a"]])
def test_what_is_no_run_id(name: object) -> None:
    assert not is_run_id(name)
    assert is_run_id("deltamask-digits-1a2b3c4d-2")


def test_entries_are_plain_json(runs: Path) -> None:
    folder = queue.submit(RunConfig(seed=7))
    (file,) = (runs / queue.PLACE).iterdir()
    assert json.loads(file.read_text()) == {
        "run": folder.name, "config": RunConfig(seed=7).model_dump(), "resume": False,
    }  # fmt: skip
