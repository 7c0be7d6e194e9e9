"""Writing a run folder: what was written is never lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deltamask.config import RunConfig
from deltamask.runs import StoreError
from deltamask.runs.folder import RunFolder, new_folder, write_json
from deltamask.runs.reader import load_run
from deltamask.runs.status import read_json
from tests.support.records import record

ROOT = Path(__file__).resolve().parents[2]
CONFIG = RunConfig(rounds=3, kappa=0.5)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", CONFIG)


def lines(folder: RunFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder.path / "rounds.jsonl").read_text().splitlines()]


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
    written = [record(0, flips=None), record(1, flips=0.1 + 0.2), record(2, flips=1e-300, skipped="é\u2028")]
    for entry in written:
        folder.append(entry)
    assert load_run(folder.path).records == written
    with pytest.raises(ValueError, match="JSON"):
        folder.append(record(3, loss=float("nan")))
    assert load_run(folder.path).records == written


@pytest.mark.parametrize("torn", [b'{"round": 2, "accur', b'{"round": 2}', b"\x00\x00\x00\x00", b"[" * 100_000])
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
    line = json.dumps(record(2)).encode() + b"\n"
    with open(folder.path / "rounds.jsonl", "ab") as file:
        file.write(line[:40])  # a line that is being written
    assert load_run(folder.path).records == first
    with open(folder.path / "rounds.jsonl", "ab") as file:
        file.write(line[40:])
    grown = load_run(folder.path).records
    assert [entry["round"] for entry in grown] == [0, 1, 2]
    assert all(before is after for before, after in zip(first, grown, strict=False))  # not parsed a second time
    folder.rewind(0)
    folder.append(record(1, accuracy=0.75))
    folder.append(record(2, accuracy=0.875))
    assert [entry["accuracy"] for entry in load_run(folder.path).records] == [0.0, 0.75, 0.875]


def test_rewind_leaves_the_bytes_of_what_it_keeps(folder: RunFolder) -> None:
    """Fields of a later revision, and its way of writing numbers, are not ours to change."""
    kept = b'{"a later field": [1],' + json.dumps(record(0)).encode()[1:-1] + b', "flips": 3e0}\n'
    path = folder.path / "rounds.jsonl"
    path.write_bytes(kept + json.dumps(record(1)).encode() + b"\n")
    folder.rewind(0)
    assert path.read_bytes() == kept
    assert load_run(folder.path).records == [record(0, flips=3.0)]


def test_texts_that_no_reader_takes_are_written_so_that_it_does(folder: RunFolder) -> None:
    """The name of a file on disk need not be text, and an error's message may hold it."""
    folder.write_status(state="failed", message="cannot open 'a\udcffb'" + "x" * 100_000)
    folder.append(record(0, skipped="half \ud800"))
    run = load_run(folder.path)
    assert run.status["message"].startswith("cannot open 'a?b'xxx")
    assert len(run.status["message"]) == 10_000
    assert run.records[0]["skipped"] == "half ?"


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


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from deltamask.runs.folder import RunFolder
from deltamask.runs.reader import load_run
from tests.support.records import record
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
folder, done = RunFolder(Path(sys.argv[1])), 0
try:
    while done < 1000:
        folder.append(record(done, skipped="x" * (2000 - len(str(record(done))))))
        done += 1
except OSError as error:
    print(done, error.errno)
try:
    folder.save_state(done, {"theta": __import__("numpy").zeros(100_000)}, load_run(folder.path).config)
except OSError as error:
    print("checkpoint", error.errno)
"""


@pytest.mark.parametrize("room", [5000, 5800, 7000])
def test_a_full_disk_loses_nothing_that_was_written(folder: RunFolder, room: int) -> None:
    """A real limit on the size of files, at several points of a line."""
    folder.save_state(1, {"theta": np.zeros(10)}, CONFIG)
    command = [sys.executable, "-c", FULL_DISK, str(folder.path), str(room)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    appended, checkpoint = answer.stdout.splitlines()
    count = int(appended.split()[0])
    content = (folder.path / "rounds.jsonl").read_bytes()
    length = len(content) // count
    assert count == room // length == 2 or count == room // length == 3
    assert content.endswith(b"\n")
    assert [json.loads(line)["round"] for line in content.splitlines()] == list(range(count))
    assert checkpoint.startswith("checkpoint ")
    stored = folder.load_state(CONFIG)
    assert stored is not None
    assert stored[0] == 1
    assert not list(folder.path.glob(".*.tmp"))  # nothing half-written lies about
    folder.append(record(count))  # room again
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


def test_control_is_one_of_four_words(folder: RunFolder) -> None:
    assert folder.control() == "run"
    for word in ("pause", "step", "stop", "run"):
        folder.ask(word)
        assert folder.control() == word
    (folder.path / "control").write_text("rm -rf /")
    assert folder.control() == "run"
