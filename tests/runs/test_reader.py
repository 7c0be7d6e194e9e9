"""Reading run folders: what state a run is in, where it is found, what its figures are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import psutil
import pytest

from deltamask.config import RunConfig
from deltamask.runs import StoreError
from deltamask.runs.folder import RunFolder, write_json
from deltamask.runs.reader import Run, find_run, list_broken, list_runs, load_run
from deltamask.runs.status import LOCK
from tests.support.records import TASK, record


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", RunConfig(rounds=3, kappa=0.5))


def test_payloads_are_found_by_round_and_client(folder: RunFolder) -> None:
    for round, client, suffix in ((10, 3, ".png"), (2, 100, ".bin"), (2, 3, ".png"), (12345, 0, ".png")):
        folder.write_payload(round, client, suffix, bytes([client]))
    (folder.path / "payloads" / "notes.txt").write_text("not a payload")
    (folder.path / "payloads" / ".r0001-c00.png.abc.tmp").write_text("torn")
    run = load_run(folder.path)
    assert [(payload.round, payload.client) for payload in run.payloads()] == [(2, 3), (2, 100), (10, 3), (12345, 0)]
    assert [payload.name for payload in run.payloads(2)] == ["r0002-c03.png", "r0002-c100.bin"]
    assert [payload.read() for payload in run.payloads(2)] == [b"\3", b"d"]
    assert run.payloads(3) == []


def gone() -> dict[str, Any]:
    """What a status says of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    stamp = {"pid": process.pid, "pid_started": psutil.Process(process.pid).create_time()}
    process.wait()
    return stamp


@pytest.mark.parametrize("state", ["running", "paused", "starting"])
def test_the_lock_says_whether_a_run_is_alive(folder: RunFolder, state: str) -> None:
    """A pid that is another process's by now, one of another machine, a clock that was set: none of it counts."""
    folder.write_status(state=state, round=1)
    status = json.loads((folder.path / "status.json").read_text())
    claims = [gone(), {"pid_started": status["pid_started"] - 1000}, {"pid": None}, {"pid": "seven"}, {"pid": 10**400}]
    for change in claims:
        write_json(folder.path / "status.json", status | change)
        assert load_run(folder.path).state == "killed", change
        with filelock.FileLock(folder.path / LOCK):
            assert load_run(folder.path).state == state, change
        assert load_run(folder.path).state == "killed", change
    for ended in ("finished", "failed", "stopped"):
        write_json(folder.path / "status.json", status | {"state": ended, **gone()})
        assert load_run(folder.path).state == ended


def test_a_copy_of_a_running_folder_does_not_run(folder: RunFolder, tmp_path: Path) -> None:
    folder.write_status(state="running")
    with filelock.FileLock(folder.path / LOCK):
        shutil.copytree(folder.path, tmp_path / "copy")
        assert load_run(folder.path).state == "running"
        assert load_run(tmp_path / "copy").state == "killed"


def test_while_a_process_loads_its_pid_counts(folder: RunFolder) -> None:
    assert load_run(folder.path).state == "starting"  # this very process
    child = subprocess.Popen([sys.executable, "-c", ""])
    started = psutil.Process(child.pid).create_time()
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    write_json(folder.path / "status.json", {"state": "starting", "pid": child.pid, "pid_started": started})
    assert load_run(folder.path).state == "killed"
    child.wait()


def test_a_run_that_ends_while_one_looks_has_not_been_killed(folder: RunFolder) -> None:
    folder.write_status(state="running")
    run = load_run(folder.path)
    folder.write_status(state="finished")
    assert run.state == "finished"


def test_looking_at_a_run_leaves_its_lock_alone(folder: RunFolder) -> None:
    folder.write_status(state="running")
    assert load_run(folder.path).state == "killed"
    assert not (folder.path / LOCK).exists()


def test_a_missing_run_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELTAMASK_RUNS", str(tmp_path))
    with pytest.raises(StoreError) as caught:
        load_run("nothing-here")
    assert "no run 'nothing-here'" in str(caught.value)
    assert str(tmp_path / "nothing-here") in str(caught.value)


def test_runs_are_found_by_id_and_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELTAMASK_RUNS", str(tmp_path))
    RunFolder.create(tmp_path / "mine", RunConfig())
    assert find_run("mine") == find_run(tmp_path / "mine") == tmp_path / "mine"
    assert load_run("mine").id == "mine"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"config\.json is damaged: Invalid JSON"),
        ("[]", r"config\.json is damaged: Input should be an object"),
        ('{"conf', r"config\.json is damaged: Invalid JSON"),
        ('{"config": 5}', r"config\.json is damaged: config: Input should be"),
        ('{"config": {}, "created": ["x"]}', r"config\.json is damaged: created: "),
        ('{"config": {"kappa": 7}}', "kappa = 7 is out of range: 0 < kappa ≤ 1"),
        ('{"config": {"kapa": 1}}', "kapa: no such field"),
    ],
)
def test_a_damaged_config_is_named_and_does_not_hide_other_runs(tmp_path: Path, content: str, message: str) -> None:
    RunFolder.create(tmp_path / "good", RunConfig())
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.json").write_text(content)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=message):
        load_run(tmp_path / "bad")
    assert [run.id for run in list_runs(tmp_path)] == ["good"]
    (broken,) = list_broken(tmp_path)
    assert broken.name == "bad"
    assert re.search(message, broken.reason)


def test_runs_are_listed_newest_first(tmp_path: Path) -> None:
    for name, created in (("a", "2024-01-02"), ("b", "2024-01-03"), ("c", "2024-01-01")):
        folder = RunFolder.create(tmp_path / "x" / name if name == "c" else tmp_path / name, RunConfig())
        write_json(folder.path / "config.json", {"config": RunConfig().model_dump(), "created": created})
    assert [run.id for run in list_runs(tmp_path, tmp_path / "x")] == ["b", "a", "c"]
    assert list_runs(tmp_path / "nowhere") == []


@pytest.fixture
def run(folder: RunFolder) -> Run:
    write_json(folder.path / "config.json", {"config": RunConfig(rounds=12).model_dump()})
    for round in range(13):
        folder.append(record(round, uplink_bytes=1000 if round == 0 else 100, bpp_up=2.5 if round == 0 else 0.25))
    write_json(folder.path / "task.json", TASK)
    folder.write_status(state="finished")
    return load_run(folder.path)


def test_frames_and_summary_by_hand(run: Run) -> None:
    assert run.rounds["bpp_up_total"].tolist()[:3] == [2.5, 2.75, 3.0]
    assert run.rounds["bpp_down_total"].iloc[-1] == 13.0
    assert "clients" not in run.rounds
    assert len(run.clients) == 26
    assert run.clients.groupby("round")["uplink_bytes"].sum().tolist() == [100] * 13
    assert run.summary() == {
        "rounds": 12,
        "accuracy": pytest.approx(np.mean(range(3, 13)) / 20),
        "worst_client": 0.375,
        "bpp_up": 0.25,
        "bpp_down": 1.0,
        "bpp_total": 1.25,
        "bpp_up_all": pytest.approx(8 * (1000 + 12 * 100) / 38_400),
        "bpp_total_all": pytest.approx(8 * (1000 + 12 * 100 + 13 * 400) / 38_400),
        "bpp_up_total": pytest.approx(2.5 + 12 * 0.25),
        "bpp_down_total": 13.0,
        "bpp_total_total": 18.5,
        "uplink_bytes": 2200,
        "downlink_bytes": 13 * 400,
    }
    assert run.rounds["bpp_total"].tolist()[:2] == [3.5, 1.25]
    assert run.rounds["bpp_total_total"].iloc[-1] == 2.5 + 12 * 0.25 + 13
    assert np.isnan(run.rounds["bpp_up_mean"][0])
    assert run.rounds["bpp_up_mean"].iloc[-1] == run.summary()["bpp_up"]


def test_summary_of_a_run_that_has_hardly_begun(folder: RunFolder) -> None:
    empty = load_run(folder.path)
    assert empty.summary()["accuracy"] is None
    assert len(empty.rounds) == len(empty.clients) == 0
    assert empty.task == {}
    folder.append(record(0, accuracy=0.4))
    assert load_run(folder.path).summary() == {
        "rounds": 0, "accuracy": 0.4, "worst_client": 0.375, "bpp_up": None, "bpp_down": None, "bpp_total": None,
        "bpp_up_all": None, "bpp_total_all": None,
        "bpp_up_total": 0.25, "bpp_down_total": 1.0, "bpp_total_total": 1.25, "uplink_bytes": 100,
        "downlink_bytes": 400,
    }  # fmt: skip
