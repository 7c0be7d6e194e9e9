"""Bad run folders beside good ones: the good ones are listed, each bad one is named with its reason."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from deltamask.cli import main
from deltamask.config import RunConfig
from deltamask.runs import StoreError
from deltamask.runs.reader import list_broken, list_runs, load_run
from tests.support.records import TASK, client, finished_run, record

DEEP = b"[" * 200_000
CONFIG = {"config": RunConfig(rounds=3).model_dump()}


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def lines(*records: dict[str, Any]) -> bytes:
    return b"".join(dumped(each) + b"\n" for each in records)


def without(plain: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in plain.items() if key != name}


# What the bad folders hold: (file, content, what the reason must name).
BAD: list[tuple[str, bytes, str]] = [
    *(
        (file, content, f"{file} is damaged")
        for file in ("config.json", "status.json", "task.json")
        for content in (b"", b"{torn", b"7", b"null", b"[1, 2]", b'"text"', DEEP, b'{"a":' * 50_000, b"\xff\xfe\x00")
    ),
    ("config.json", dumped({}), "config"),
    ("config.json", dumped({"config": {"rounds": 10**9}}), "rounds = 1000000000 is out of range"),
    ("config.json", dumped({"config": {"dataset": "a\x1b[2Jb"}}), "control character"),
    ("config.json", dumped({**CONFIG, "created": "x" * 1000}), "created"),
    ("config.json", b" " * 1_000_001, "at most 1,000,000 are read"),
    ("status.json", dumped({"state": 5}), "state"),
    ("status.json", dumped({"state": "running", "progress": [1]}), "progress"),
    ("status.json", dumped({"state": "failed", "message": "x" * 20_000}), "message"),
    ("status.json", b'{"message": "\\ud800"}', "status.json is damaged"),
    ("status.json", b" " * 1_000_001, "at most 1,000,000 are read"),
    *(("mark.json", content, "mark.json is damaged") for content in (b"", b"{torn", b"7", b"null", b"\xff\xfe\x00")),
    ("mark.json", DEEP, "at most 10,000 are read"),
    ("mark.json", dumped({"star": "yes"}), "star"),
    ("mark.json", dumped({"star": True, "note": "x" * 501}), "note"),
    ("mark.json", dumped({"note": "a\x1b[2Jb"}), "control character"),
    ("mark.json", b" " * 10_001, "at most 10,000 are read"),
    ("task.json", dumped({"d": 5}), "layers"),
    ("task.json", dumped({**TASK, "d": -1}), "d: "),
    ("task.json", dumped({**TASK, "d": 10**15}), "d: "),
    ("task.json", dumped({**TASK, "label_counts": [[1, 2, 3]]}), "label_counts does not fit classes"),
    ("task.json", dumped({**TASK, "label_counts": [[1, 2]] * 6}), "more than 5 clients"),
    ("task.json", dumped({**TASK, "layers": [{"name": "a", "start": 5, "stop": 2}]}), "layers are not in order"),
    ("task.json", dumped({**TASK, "classes": ["a" * 1000, "b"]}), "classes.0"),
    ("rounds.jsonl", DEEP + b"\n", "line 1"),
    ("rounds.jsonl", b"\n", "line 1"),
    ("rounds.jsonl", lines(record(0)) + b"garbage\n" + lines(record(1)), "line 2"),
    ("rounds.jsonl", lines(record(0), record(3)), "line 2: it is of round 3"),
    ("rounds.jsonl", lines(record(0), record(0)), "line 2: it is of round 0"),
    ("rounds.jsonl", lines(record(1)), "line 1: it is of round 1"),
    ("rounds.jsonl", lines(record(0), {**record(1), "round": "x"}), "line 2: round"),
    ("rounds.jsonl", lines(record(0), without(record(1), "bpp_up")), "line 2: bpp_up"),
    ("rounds.jsonl", lines(record(0, clients=[client(7)])), "a client that is not in the config"),
    ("rounds.jsonl", lines(record(0, alone=[0.5] * 4)), "round 0: alone is not of the config's 5 clients"),
    ("rounds.jsonl", lines(record(0, client_accuracy=[])), "round 0: client_accuracy is not of the config's 5"),
    ("rounds.jsonl", lines(*(record(round) for round in range(9))), "more than 3 rounds"),
    ("rounds.jsonl", lines(*(record(round) for round in range(3))) + b"[]\n", "line 4"),
]  # fmt: skip


def make_bad(path: Path, file: str, content: bytes) -> None:
    finished_run(path)
    (path / file).write_bytes(content)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three good runs, and every bad one."""
    for name in ("good-1", "good-2", "good-3"):
        finished_run(tmp_path / name)
    for number, (file, content, _) in enumerate(BAD):
        make_bad(tmp_path / f"bad-{number:02d}", file, content)
    return tmp_path


def test_the_good_ones_are_listed_and_each_bad_one_is_named(root: Path) -> None:
    assert len(BAD) >= 50
    assert sorted(run.id for run in list_runs(root)) == ["good-1", "good-2", "good-3"]
    broken = list_broken(root)
    assert [each.name for each in broken] == [f"bad-{number:02d}" for number in range(len(BAD))]
    for each, (file, content, reason) in zip(broken, BAD, strict=True):
        assert file in each.reason, (file, content[:50])
        assert reason in each.reason, (file, content[:50])
        assert len(each.reason) < 5000
        with pytest.raises(StoreError, match=r"\S"):
            load_run(each.path)


def test_the_second_listing_reads_nothing_again(root: Path) -> None:
    list_runs(root)
    begun = time.perf_counter()
    for _ in range(3):
        list_runs(root)
    assert (time.perf_counter() - begun) / 3 < 1


@pytest.mark.parametrize("file", ["config.json", "status.json", "task.json", "rounds.jsonl", "mark.json", "control"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "endless"])
def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path, file: str, kind: str) -> None:
    finished_run(tmp_path / "good")
    finished_run(tmp_path / "bad")
    path = tmp_path / "bad" / file
    path.unlink(missing_ok=True)
    {"pipe": os.mkfifo, "folder": os.mkdir, "endless": lambda path: path.symlink_to("/dev/zero")}[kind](path)
    listed = [run.id for run in list_runs(tmp_path)]
    if file == "control":  # no part of what is shown
        assert sorted(listed) == ["bad", "good"]
    else:
        assert listed == ["good"]
        (broken,) = list_broken(tmp_path)
        assert f"{file} cannot be read: " in broken.reason


def test_a_million_records_are_not_read_to_the_end(tmp_path: Path) -> None:
    finished_run(tmp_path / "good")
    finished_run(tmp_path / "bad")
    one = dumped(record(0)).replace(b'"round": 0', b'"round": %d')
    with open(tmp_path / "bad" / "rounds.jsonl", "wb") as file:
        for start in range(0, 1_000_000, 10_000):
            file.writelines(one % round + b"\n" for round in range(start, start + 10_000))
    begun = time.perf_counter()
    assert [run.id for run in list_runs(tmp_path)] == ["good"]
    assert time.perf_counter() - begun < 20  # of a million: minutes
    (broken,) = list_broken(tmp_path)
    assert "line 10002: round" in broken.reason or "more than 3 rounds" in broken.reason


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31mred", os.fsdecode(b"a\xffb")])
def test_a_name_that_cannot_be_shown_is_no_run(tmp_path: Path, name: str) -> None:
    finished_run(tmp_path / "good")
    finished_run(tmp_path / "bad").path.rename(tmp_path / name)
    assert [run.id for run in list_runs(tmp_path)] == ["good"]
    (broken,) = list_broken(tmp_path)
    assert broken.name.isprintable()
    assert "is no name of a run" in broken.reason
    (broken.name + broken.reason).encode()


def test_the_command_names_them(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DELTAMASK_RUNS", str(root))
    assert main(["runs"]) == 0
    printed = capsys.readouterr()
    assert "good-1" in printed.out
    assert "bad-00 is left out: " in printed.err
    assert main(["runs", "--json"]) == 0
    rows = {row["run"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["good-1"]["state"] == "finished"
    assert rows["bad-00"]["state"] == "broken"
    assert "config.json is damaged" in rows["bad-00"]["message"]
