"""Run folders: what was written is never lost, and what is damaged says so."""

from __future__ import annotations

import csv
import json
import os
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tyro

from deltamask.cli.running import run_command
from deltamask.config import RunConfig
from deltamask.config.presets import PRESETS
from deltamask.runs import StoreError, export
from deltamask.runs.folder import RunFolder, new_folder, write_json
from deltamask.runs.reader import Run, find_run, list_runs, load_run
from deltamask.runs.status import read_json


def record(round: int, **changes: Any) -> dict[str, Any]:
    """A record with the fields that reading needs, in round figures."""
    clients = [
        {"client": client, "samples": 10, "accuracy": 0.5, "uplink_bytes": 50, "dropped": None} for client in (0, 1)
    ]
    plain = {
        "round": round, "accuracy": round / 10, "loss": 1.0, "uplink_bytes": 100, "downlink_bytes": 400,
        "bpp_up": 0.25, "bpp_down": 1.0, "clients": clients, "seconds": {"train": 1.5}, "theta_histogram": [1, 2],
        "kept_by_layer": {"a": 1},
    }  # fmt: skip
    return plain | changes


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", RunConfig(rounds=3, kappa=0.5))


def lines(folder: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder.path / "rounds.jsonl").read_text().splitlines()]


# Writing


def test_a_new_folder_holds_the_config_and_where_it_came_from(folder: RunFolder) -> None:
    stored = json.loads((folder.path / "config.json").read_text())
    assert RunConfig(**stored["config"]) == RunConfig(rounds=3, kappa=0.5)
    assert {"deltamask", "git_revision", "created"} <= stored.keys()


def test_a_folder_is_created_once(folder: RunFolder) -> None:
    before = (folder.path / "config.json").read_bytes()
    with pytest.raises(StoreError, match=r"already holds a run: `deltamask resume .*run`"):
        RunFolder.create(folder.path, RunConfig())
    assert (folder.path / "config.json").read_bytes() == before


def test_new_folders_never_clash(tmp_path: Path) -> None:
    config = RunConfig()
    names = []
    for _ in range(3):
        path = new_folder(config, tmp_path)
        RunFolder.create(path, config)
        names.append(path.name)
    assert names == [config.run_id, f"{config.run_id}-2", f"{config.run_id}-3"]


def test_records_come_back_as_they_were_appended(folder: RunFolder) -> None:
    written = [record(0, flips=None), record(1, flips=0.1 + 0.2), record(2, flips=1e-300)]
    for entry in written:
        folder.append(entry)
    assert load_run(folder.path).records == written
    with pytest.raises(ValueError, match="JSON"):
        folder.append(record(3, loss=float("nan")))
    assert load_run(folder.path).records == written


@pytest.mark.parametrize(
    "torn", [b'{"round": 2, "accur', b'{"round": 2}', b"\x00\x00\x00\x00", b'{"round": 2}garbage\n']
)
def test_a_torn_last_line_is_ignored_and_rewind_removes_it(folder: RunFolder, torn: bytes) -> None:
    folder.append(record(0))
    folder.append(record(1))
    with open(folder.path / "rounds.jsonl", "ab") as file:
        file.write(torn)
    assert [entry["round"] for entry in load_run(folder.path).records] == [0, 1]
    folder.rewind(1)
    folder.append(record(2))
    assert lines(folder) == [record(0), record(1), record(2)]


def test_a_file_that_grows_is_read_once_and_one_that_was_replaced_again(folder: RunFolder) -> None:
    folder.append(record(0))
    folder.append(record(1))
    first = load_run(folder.path).records
    assert load_run(folder.path) is load_run(folder.path)  # nothing has changed
    with open(folder.path / "rounds.jsonl", "ab") as file:
        file.write(b'{"round": 2, "accur')  # a line in the making
    assert load_run(folder.path).records == first
    with open(folder.path / "rounds.jsonl", "ab") as file:
        file.write(b'acy": 1}\n')
    grown = load_run(folder.path).records
    assert [entry["round"] for entry in grown] == [0, 1, 2]
    assert all(before is after for before, after in zip(first, grown, strict=False))  # not parsed a second time
    folder.rewind(0)
    folder.append(record(1, accuracy=0.75))
    folder.append(record(2, accuracy=0.875))
    assert [entry["accuracy"] for entry in load_run(folder.path).records] == [0.0, 0.75, 0.875]


def test_rewind_drops_what_the_checkpoint_does_not_know(folder: RunFolder) -> None:
    for round in range(4):
        folder.append(record(round))
    folder.rewind(2)
    assert lines(folder) == [record(0), record(1), record(2)]
    folder.rewind(-1)
    assert lines(folder) == []


def test_rewind_of_an_empty_folder_is_harmless(folder: RunFolder) -> None:
    folder.rewind(-1)
    assert load_run(folder.path).records == []


def test_a_checkpoint_comes_back_bit_for_bit(folder: RunFolder) -> None:
    assert folder.load_state() is None
    arrays = {
        "theta": np.arange(1000, dtype=np.uint16),
        "ones": np.arange(-5, 5, dtype=np.int32),
        "seen": np.array([7], np.int64),
        "head": np.array([0.1, -1e-30], np.float32),
        "empty": np.zeros(0, np.int64),
    }
    folder.save_state(12, arrays)
    folder.save_state(13, arrays)
    stored = folder.load_state()
    assert stored is not None
    assert stored[0] == 13
    assert stored[1].keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(stored[1][name], array, strict=True)


@pytest.mark.parametrize("damage", ["torn", "empty", "garbage", "foreign"])
def test_a_damaged_checkpoint_says_what_to_do(folder: RunFolder, damage: str) -> None:
    folder.save_state(3, {"theta": np.arange(1000, dtype=np.uint16)})
    path = folder.path / "state.safetensors"
    content = path.read_bytes()
    garbage = np.random.default_rng(0).bytes(500)
    path.write_bytes({"torn": content[:-700], "empty": b"", "garbage": garbage, "foreign": b"PK\3\4 a zip"}[damage])
    with pytest.raises(StoreError) as caught:
        folder.load_state()
    assert str(path) in str(caught.value)
    assert "is damaged" in str(caught.value)
    assert "delete it and rounds.jsonl to start from round 0" in str(caught.value)


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from deltamask.runs.folder import RunFolder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
folder, done = RunFolder(Path(sys.argv[1])), 0
try:
    while done < 1000:
        folder.append({"round": done, "text": "x" * 700})
        done += 1
except OSError as error:
    print(done, error.errno)
try:
    folder.save_state(done, {"theta": __import__("numpy").zeros(100_000)})
except OSError as error:
    print("checkpoint", error.errno)
"""


@pytest.mark.parametrize("room", [5000, 5800, 6000])
def test_a_full_disk_loses_nothing_that_was_written(folder: RunFolder, room: int) -> None:
    """A real limit on the size of files, at several points of a line (a line is 725 bytes)."""
    folder.save_state(1, {"theta": np.zeros(10)})
    command = [sys.executable, "-c", FULL_DISK, str(folder.path), str(room)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    appended, checkpoint = answer.stdout.splitlines()
    count = int(appended.split()[0])
    assert count == room // 725
    content = (folder.path / "rounds.jsonl").read_bytes()
    assert content.endswith(b"\n")
    assert [json.loads(line)["round"] for line in content.splitlines()] == list(range(count))
    assert checkpoint.startswith("checkpoint ")
    stored = folder.load_state()
    assert stored is not None
    assert stored[0] == 1
    assert not list(folder.path.glob(".*.tmp"))  # nothing half-written lies about
    folder.append({"round": count})  # room again
    assert len(load_run(folder.path).records) == count + 1


def test_json_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]
    path.write_text('{"a": ')
    assert read_json(path) is None
    assert read_json(tmp_path / "b.json") is None


def test_payloads_are_found_by_round_and_client(folder: RunFolder) -> None:
    for round, client, suffix in ((10, 3, ".png"), (2, 100, ".bin"), (2, 3, ".png"), (12345, 0, ".png")):
        folder.write_payload(round, client, suffix, bytes([client]))
    (folder.path / "payloads" / "notes.txt").write_text("not a payload")
    (folder.path / "payloads" / ".r0001-c00.png.abc.tmp").write_text("torn")
    run = load_run(folder.path)
    assert [(payload.round, payload.client) for payload in run.payloads()] == [(2, 3), (2, 100), (10, 3), (12345, 0)]
    assert [payload.path.name for payload in run.payloads(2)] == ["r0002-c03.png", "r0002-c100.bin"]
    assert [payload.path.read_bytes() for payload in run.payloads(2)] == [b"\3", b"d"]
    assert run.payloads(3) == []


def test_control_is_one_of_four_words(folder: RunFolder) -> None:
    assert folder.control() == "run"
    for word in ("pause", "step", "stop", "run"):
        folder.ask(word)
        assert folder.control() == word
    (folder.path / "control").write_text("rm -rf /")
    assert folder.control() == "run"


# Reading


def test_state_is_killed_when_the_process_is_gone(folder: RunFolder) -> None:
    assert load_run(folder.path).state == "starting"
    folder.write_status(state="running", round=1)
    assert load_run(folder.path).state == "running"  # this very process
    status = json.loads((folder.path / "status.json").read_text())
    assert status["pid"] == os.getpid()

    gone = subprocess.Popen([sys.executable, "-c", ""])
    started = psutil.Process(gone.pid).create_time()
    gone.wait()
    for change in (
        {"pid": gone.pid, "pid_started": started},
        {"pid_started": status["pid_started"] - 1000},  # another process has the pid now
        {"pid": None},
        {"pid": "seven"},
    ):
        write_json(folder.path / "status.json", status | change)
        assert load_run(folder.path).state == "killed", change
    for state in ("finished", "failed", "stopped"):
        write_json(folder.path / "status.json", status | {"state": state, "pid": gone.pid, "pid_started": started})
        assert load_run(folder.path).state == state


def test_a_zombie_is_dead(folder: RunFolder) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    started = psutil.Process(child.pid).create_time()
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    write_json(folder.path / "status.json", {"state": "running", "pid": child.pid, "pid_started": started})
    assert load_run(folder.path).state == "killed"
    child.wait()


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
        ("", "missing or damaged"),
        ("[]", "missing or damaged"),
        ('{"conf', "missing or damaged"),
        ('{"config": 5}', "missing or damaged"),
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


def test_runs_are_listed_newest_first(tmp_path: Path) -> None:
    for name, created in (("a", "2024-01-02"), ("b", "2024-01-03"), ("c", "2024-01-01")):
        folder = RunFolder.create(tmp_path / "x" / name if name == "c" else tmp_path / name, RunConfig())
        write_json(folder.path / "config.json", {"config": RunConfig().model_dump(), "created": created})
    assert [run.id for run in list_runs(tmp_path, tmp_path / "x")] == ["b", "a", "c"]
    assert list_runs(tmp_path / "nowhere") == []


@pytest.fixture
def run(folder: RunFolder) -> Run:
    for round in range(13):
        folder.append(record(round, uplink_bytes=1000 if round == 0 else 100, bpp_up=2.5 if round == 0 else 0.25))
    folder.write_payload(1, 0, ".png", b"picture")
    write_json(folder.path / "task.json", {"d": 1600})
    folder.write_status(state="finished")
    folder.save_state(12, {"theta": np.zeros(10)})
    folder.ask("run")
    (folder.path / "run.lock").touch()
    return load_run(folder.path)


def test_frames_and_summary_by_hand(run: Run) -> None:
    assert run.rounds["bpp_up_total"].tolist()[:3] == [2.5, 2.75, 3.0]
    assert run.rounds["bpp_down_total"].iloc[-1] == 13.0
    assert "clients" not in run.rounds
    assert len(run.clients) == 26
    assert run.clients.groupby("round")["uplink_bytes"].sum().tolist() == [100] * 13
    assert run.summary() == {
        "rounds": 12,
        "accuracy": pytest.approx(np.mean(range(3, 13)) / 10),
        "worst_client": 0.5,
        "bpp_up": 0.25,
        "bpp_down": 1.0,
        "bpp_total": 1.25,
        "bpp_up_total": pytest.approx(2.5 + 12 * 0.25),
        "bpp_down_total": 13.0,
        "bpp_total_total": 18.5,
        "uplink_bytes": 2200,
        "downlink_bytes": 13 * 400,
    }
    assert run.rounds["bpp_total"].tolist()[:2] == [3.5, 1.25]  # made from both where a record does not say it
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
        "rounds": 0, "accuracy": 0.4, "worst_client": 0.5, "bpp_up": None, "bpp_down": None, "bpp_total": None,
        "bpp_up_total": 0.25, "bpp_down_total": 1.0, "bpp_total_total": 1.25, "uplink_bytes": 100,
        "downlink_bytes": 400,
    }  # fmt: skip


# Export


def test_export_zip_holds_what_reading_needs(run: Run, tmp_path: Path) -> None:
    (run.path / "payloads" / ".r0002-c00.png.x.tmp").write_text("torn")
    export.write(run, tmp_path / "run.zip")
    with zipfile.ZipFile(tmp_path / "run.zip") as archive:
        names = ["config.json", "payloads/r0001-c00.png", "rounds.jsonl", "status.json", "task.json"]
        assert sorted(archive.namelist()) == [f"run/{name}" for name in names]
        archive.extractall(tmp_path / "elsewhere")
    opened = load_run(tmp_path / "elsewhere" / "run")
    assert opened.records == run.records
    assert opened.config == run.config
    assert opened.state == "finished"
    assert opened.payloads(1)[0].path.read_bytes() == b"picture"


def test_export_csv_is_one_row_a_round(run: Run, tmp_path: Path) -> None:
    export.write(run, tmp_path / "run.csv")
    with open(tmp_path / "run.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["round"]) for row in rows] == list(range(13))
    assert float(rows[12]["bpp_up_total"]) == 5.5
    assert not {"seconds", "clients", "kept_by_layer", "theta_histogram"} & rows[0].keys()


def test_export_json_is_everything_but_the_payloads(run: Run, tmp_path: Path) -> None:
    export.write(run, tmp_path / "run.json")
    plain = json.loads((tmp_path / "run.json").read_text())
    assert plain["rounds"] == run.records
    assert RunConfig(**plain["config"]) == run.config
    assert plain["task"] == {"d": 1600}
    assert plain["command"] == "deltamask run --rounds 3 --kappa 0.5"
    assert plain["summary"]["rounds"] == 12


def test_export_to_another_kind_of_file_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"'run\.xlsx': use a name that ends in \.zip, \.csv or \.json"):
        export.write(run, tmp_path / "run.xlsx")
    assert not (tmp_path / "run.xlsx").exists()


@pytest.mark.parametrize(
    "config",
    [*PRESETS.values(), RunConfig(dataset="a b; 'c'", rho=1e-7, lr=0.30000000000000004, seed=2**32 - 1, clients=750)],
    ids=[*PRESETS, "odd values"],
)
def test_command_line_makes_the_same_config_again(config: RunConfig) -> None:
    words = shlex.split(export.command_line(config))
    assert words[:2] == ["deltamask", "run"]
    run = run_command(RunConfig())
    fields = tyro.cli(run.__annotations__["config"], args=words[2:])
    assert RunConfig(**vars(fields)) == config
