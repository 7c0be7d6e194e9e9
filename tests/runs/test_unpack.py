"""A zip from a stranger: it becomes a run folder of ours, or nothing at all."""

from __future__ import annotations

import io
import json
import os
import stat
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deltamask.base.paths import recorded_dir
from deltamask.runs import export, import_zip
from deltamask.runs.import_zip import UnpackError, unpack_run
from deltamask.runs.reader import list_runs, load_run

Files = dict[str, bytes]


@pytest.fixture
def files() -> Files:
    """A recorded run's folder, cut to three rounds."""
    run = load_run(recorded_dir() / "fashion")
    config = {**run.config.model_dump(), "rounds": 2}
    return {
        "mine/config.json": json.dumps({"config": config, **run.provenance}).encode(),
        "mine/task.json": (run.path / "task.json").read_bytes(),
        "mine/status.json": json.dumps({"state": "finished", "pid": 1, "pid_started": 0.0}).encode(),
        "mine/rounds.jsonl": b"".join(json.dumps(record).encode() + b"\n" for record in run.records[:3]),
        "mine/payloads/r0001-c00.png": run.payloads(1)[0].read(),
        "mine/payloads/r0001-c00.flips": b"what only the client knew",
        "mine/payloads/r0001-down.bin": b"a broadcast",
    }


def zipped(files: Files) -> io.BytesIO:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    target.seek(0)
    return target


def refused(file: io.BytesIO, root: Path, why: str) -> None:
    with pytest.raises(UnpackError, match=why):
        unpack_run(file, root / "runs")
    assert list((root / "runs").iterdir()) == []  # nothing stays, hidden or not
    assert [path.name for path in root.iterdir()] == ["runs"]


def test_an_exported_run_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELTAMASK_RUNS", str(tmp_path / "runs"))
    original = load_run(recorded_dir() / "fashion-paper")
    export.write(original, tmp_path / "a.zip")
    with open(tmp_path / "a.zip", "rb") as file:
        folder = unpack_run(file, tmp_path / "runs")
    assert folder == tmp_path / "runs" / "fashion-paper-2"  # a recorded run's name is taken
    run = load_run(folder)
    assert run.uploaded
    assert load_run("fashion-paper").path == original.path
    assert run.records == original.records
    assert (run.config, run.task, run.state) == (original.config, original.task, "finished")
    assert [payload.read() for payload in run.payloads()] == [p.read() for p in original.payloads()]
    assert [found.id for found in list_runs(tmp_path / "runs")] == ["fashion-paper-2"]


def test_what_a_killed_upload_left_behind_is_removed(files: Files, tmp_path: Path) -> None:
    for name, age in ((".upload-old", 2 * import_zip.STALE), (".upload-new", 0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    unpack_run(zipped(files), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".upload-new", "mine"]


def test_names_are_fresh_and_safe(files: Files, tmp_path: Path) -> None:
    assert [unpack_run(zipped(files), tmp_path).name for _ in range(3)] == ["mine", "mine-2", "mine-3"]
    flat = {name.removeprefix("mine/"): content for name, content in files.items()}
    assert unpack_run(zipped(flat), tmp_path).name == "uploaded"
    for name in ("<b>x", ".hidden", "a b", "x" * 200, "naïve"):
        renamed = {path.replace("mine", name, 1): content for path, content in files.items()}
        assert unpack_run(zipped(renamed), tmp_path).name.startswith("uploaded")


def test_a_run_that_was_under_way_is_stopped_and_holds_no_process(files: Files, tmp_path: Path) -> None:
    """Its pid is another machine's: perhaps that of some process here."""
    files["mine/status.json"] = json.dumps({"state": "running", "pid": 1, "pid_started": 0.0}).encode()
    run = load_run(unpack_run(zipped(files), tmp_path))
    assert run.state == "stopped"
    assert "pid" not in run.status


def test_a_stranger_s_star_and_note_are_left_out(files: Files, tmp_path: Path) -> None:
    mark = b'{"star": true, "note": "buy this"}'
    folder = unpack_run(zipped({**files, "mine/mark.json": mark}), tmp_path)
    assert not (folder / "mark.json").exists()
    assert load_run(folder).mark.note == ""


@pytest.mark.parametrize(
    "name",
    ["../evil", "mine/../../evil", "/etc/evil", "mine/payloads/../../../evil", "mine\\..\\evil", "C:/evil",
     "mine/evil.sh", "mine/payloads/r0001-c00.png/x", "other/rounds.jsonl", "mine/.ssh/authorized_keys",
     "mine/queued.json", "mine/payloads/r0001-c00.exe"],
)  # fmt: skip
def test_unexpected_names_are_refused(files: Files, tmp_path: Path, name: str) -> None:
    refused(zipped({**files, name: b"x"}), tmp_path, "no file of a run|leads out")


def test_links_are_refused(files: Files, tmp_path: Path) -> None:
    target = zipped(files)
    with zipfile.ZipFile(target, "a") as archive:
        link = zipfile.ZipInfo("mine/payloads/r0002-c00.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    refused(target, tmp_path, "link or a special file")


def test_the_same_name_twice_is_refused(files: Files, tmp_path: Path) -> None:
    target = zipped(files)
    with zipfile.ZipFile(target, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("mine/status.json", b"{}")
    refused(target, tmp_path, "is there twice")


def test_a_bomb_is_refused_by_what_it_says_and_by_what_it_is(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_zip, "MAX_BYTES", 2_000_000)
    files["mine/payloads/r0002-c00.bin"] = bytes(3_000_000)
    honest = zipped(files)
    refused(honest, tmp_path, "MB when inflated")
    # Now its directory says 10 bytes.
    data = bytearray(honest.getvalue())
    at = data.rindex(b"mine/payloads/r0002-c00.bin") - 46
    assert data[at : at + 4] == b"PK\x01\x02"
    data[at + 24 : at + 28] = struct.pack("<I", 10)
    refused(io.BytesIO(bytes(data)), tmp_path, "larger than|cannot|not a zip|CRC|Bad")


def test_too_many_entries_are_refused(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_zip, "MAX_ENTRIES", 4)
    refused(zipped(files), tmp_path, "7 entries, at most 4")


@pytest.mark.parametrize("data", [b"", b"no zip", b"PK\x03\x04" + bytes(50), b"PK\x05\x06" + bytes(18)])
def test_what_is_no_zip_is_refused(tmp_path: Path, data: bytes) -> None:
    refused(io.BytesIO(data), tmp_path, "not a zip|holds one config.json")


def test_a_torn_zip_is_refused(files: Files, tmp_path: Path) -> None:
    data = bytearray(zipped(files).getvalue())
    data[300:400] = bytes(100)
    refused(io.BytesIO(bytes(data)), tmp_path, "not a zip that can be read")


def lines(files: Files, change: Callable[[list[dict[str, Any]]], None]) -> None:
    records = [json.loads(line) for line in files["mine/rounds.jsonl"].splitlines()]
    change(records)
    files["mine/rounds.jsonl"] = b"".join(json.dumps(record).encode() + b"\n" for record in records)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda records: records[1].update(accuracy="<script>"), "accuracy"),
        (lambda records: records[1].update(accuracy=float("nan")), "line 2: accuracy"),
        (lambda records: records[1].pop("bpp_up"), "bpp_up"),
        (lambda records: records[1].update(clients=[{"client": 0}]), "clients"),
        (lambda records: records[1].update(uplink_bytes=-1), "uplink_bytes"),
        (lambda records: records[1].update(round=7), "line 2: it is of round 7"),
        (lambda records: records[1].update(clients=records[1]["clients"][:1] * 100_001), "clients"),
        (lambda records: records[1]["clients"][0].update(client=5), "a client that is not in the config"),
        (lambda records: records[1]["clients"][0].update(uplink_bytes=10**12), "less than its clients sent"),
        (lambda records: records[1].update(accuracy=99), "accuracy"),
        (lambda records: records[1].update(uplink_bytes=records[1]["uplink_bytes"] + 7), "but its clients sent"),
        (lambda records: records[1].update(bpp_up=records[1]["bpp_up"] / 3.3), "for no number of clients"),
        (lambda records: records[1].update(bpp_down=0.0), "for no number of clients"),
        (lambda records: records[0].update(alone=[0.5]), "alone is not of the config's"),
        (lambda records: records[0].update(alone=[2.0]), "alone.0"),
        (lambda records: records[1].update(bpp_up=1e300), "bpp_up"),
        (lambda records: records[1].update(skipped="x" * 3000), "skipped"),
        (lambda records: records.append({**records[2], "round": 3}), "more than 2 rounds"),
        (lambda records: records.pop(), "says finished, but the records end at round 1 of 2"),
    ],
)
def test_records_that_pages_could_not_draw_are_refused(
    files: Files, tmp_path: Path, change: Callable[[list[dict[str, Any]]], None], why: str
) -> None:
    lines(files, change)
    refused(zipped(files), tmp_path, why)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("config.json", b"[]", "config.json is damaged"),
        ("config.json", b'{"config": {"kappa": 9}}', "kappa = 9 is out of range"),
        ("config.json", b'{"config": {"evil": 1}}', "no such field"),
        ("config.json", b'{"config": {}, "created": ["x"]}', "created"),
        ("task.json", b"{}", "task.json is damaged: d"),
        ("task.json", b'{"d": 10, "layers": [], "classes": ["a"], "label_counts": [[1, 2]]}', "does not fit"),
        ("rounds.jsonl", b"[" * 100_000, "torn"),
        ("rounds.jsonl", b"[" * 100_000 + b"\n", "rounds.jsonl is damaged: line 1"),
        ("status.json", b"{torn", "status.json is damaged"),
        ("status.json", b"[]", "status.json is damaged"),
    ],
)
def test_files_that_are_not_what_their_name_says_are_refused(
    files: Files, tmp_path: Path, name: str, content: bytes, why: str
) -> None:
    files[f"mine/{name}"] = content
    refused(zipped(files), tmp_path, why)


def test_without_a_config_it_is_no_run(files: Files, tmp_path: Path) -> None:
    del files["mine/config.json"]
    refused(zipped(files), tmp_path, "holds one config.json")
