"""Kept messages: the same whether they lie loose or packed, and a pack from a stranger does no harm."""

from __future__ import annotations

import io
import re
import shutil
import stat
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deltamask import load_run
from deltamask.base.paths import recorded_dir
from deltamask.plots import pictures, report
from deltamask.runs import StoreError, export, payloads
from deltamask.runs.folder import RunFolder
from deltamask.runs.import_zip import UnpackError, unpack_run
from deltamask.runs.runner import execute
from tests.support import tiny
from tests.support.recorded import record_run

MESSAGES = {
    "r0000-c00.png": b"a head",
    "r0001-c00.png": b"a picture",
    "r0001-c00.flips": b"known to one",
    "r0001-c01.bin": b"bytes" * 200,
    "r0001-down.bin": b"a broadcast",
    "r0010-c100.bin": b"",
}
UPLINK = ["r0000-c00.png", "r0001-c00.png", "r0001-c01.bin", "r0010-c100.bin"]


@pytest.fixture
def loose(tmp_path: Path) -> Path:
    (tmp_path / "loose" / "payloads").mkdir(parents=True)
    for name, data in MESSAGES.items():
        (tmp_path / "loose" / "payloads" / name).write_bytes(data)
    return tmp_path / "loose"


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    (tmp_path / "packed").mkdir()
    payloads.write_pack(tmp_path / "packed" / "payloads.zip", MESSAGES)
    return tmp_path / "packed"


def test_loose_and_packed_messages_read_alike(loose: Path, packed: Path) -> None:
    for run in (loose, packed):
        found = payloads.messages(run)
        assert {name: message.read() for name, message in found.items()} == MESSAGES
        assert {name: message.size for name, message in found.items()} == {n: len(d) for n, d in MESSAGES.items()}
        assert [payload.name for payload in payloads.uplink(run)] == UPLINK
        assert [(p.round, p.client, p.suffix) for p in payloads.uplink(run, 1)] == [(1, 0, ".png"), (1, 1, ".bin")]
        assert [payload.read() for payload in payloads.uplink(run, 10)] == [b""]
        assert payloads.broadcast(run, 1) == b"a broadcast"
        assert payloads.side_file(run, 1, 0) == b"known to one"
        assert payloads.broadcast(run, 2) is None
        assert payloads.side_file(run, 1, 1) is None
        assert payloads.uplink(run, 2) == []
        assert payloads.has_uplink(run)
    assert payloads.messages(packed.parent) == {}
    assert not payloads.has_uplink(packed.parent)


def test_the_same_messages_make_the_same_pack(packed: Path) -> None:
    again = packed / "again.zip"
    payloads.write_pack(again, dict(reversed(MESSAGES.items())))
    assert again.read_bytes() == (packed / "payloads.zip").read_bytes()
    with zipfile.ZipFile(again) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == sorted(MESSAGES)
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    with pytest.raises(StoreError, match=r"'\.\./r0001-c00\.png' is no message of a run"):
        payloads.write_pack(again, {"../r0001-c00.png": b""})


def test_a_loose_message_counts_more_than_a_packed_one(packed: Path) -> None:
    folder = RunFolder(packed)
    folder.write_payload(1, 0, ".png", b"written again")
    folder.write_broadcast(2, b"a new broadcast")
    assert [payload.name for payload in payloads.uplink(packed)] == UPLINK
    assert payloads.uplink(packed, 1)[0].read() == b"written again"
    assert payloads.broadcast(packed, 2) == b"a new broadcast"
    assert payloads.broadcast(packed, 1) == b"a broadcast"


def test_a_replaced_pack_is_read_anew(packed: Path) -> None:
    old = payloads.uplink(packed, 1)[0]
    payloads.write_pack(packed / "payloads.zip", {"r0001-c01.bin": b"other"})
    assert [payload.read() for payload in payloads.uplink(packed)] == [b"other"]
    with pytest.raises(StoreError, match=r"r0001-c00\.png is no longer in .*payloads\.zip"):
        old.read()
    (packed / "payloads.zip").unlink()
    assert payloads.messages(packed) == {}


def test_what_is_gone_or_too_large_is_said(loose: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    payload = payloads.uplink(loose, 1)[0]
    payload.place.unlink()
    with pytest.raises(StoreError, match=r"r0001-c00\.png cannot be read: No such file"):
        payload.read()
    monkeypatch.setattr(payloads, "MAX_FILE", 999)
    with pytest.raises(StoreError, match=r"r0001-c01\.bin has 1,000 bytes: too large"):
        payloads.uplink(loose, 1)[0].read()


def test_a_packed_run_goes_on_as_a_loose_one(tmp_path: Path) -> None:
    config = tiny.config(rounds=3)
    straight, stopped = record_run(config, tmp_path / "straight"), RunFolder.create(tmp_path / "stopped", config)

    def show(what: str, done: int, total: int) -> None:
        pass

    def stop(record: object) -> None:
        if len(load_run(stopped.path).records) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(stopped, config, on_record=stop, show=show)
    kept = {name: message.read() for name, message in payloads.messages(stopped.path).items()}
    payloads.write_pack(stopped.path / "payloads.zip", kept)
    shutil.rmtree(stopped.path / "payloads")
    assert execute(stopped, config, on_record=lambda record: None, show=show) == "finished"
    assert 0 < len(list((stopped.path / "payloads").iterdir())) < len(payloads.messages(straight.path))
    assert {n: m.read() for n, m in payloads.messages(stopped.path).items()} == {
        n: m.read() for n, m in payloads.messages(straight.path).items()
    }


# In and out


def test_a_packed_run_is_exported_loose_and_comes_back(tmp_path: Path) -> None:
    original = load_run(recorded_dir() / "fashion-recipe")
    messages = {name: message.read() for name, message in payloads.messages(original.path).items()}
    export.write(original, tmp_path / "run.zip")
    with zipfile.ZipFile(tmp_path / "run.zip") as archive:
        names = {name.removeprefix("fashion-recipe/") for name in archive.namelist()}
    records = {"config.json", "task.json", "rounds.jsonl", "status.json"}
    assert names == records | {f"payloads/{name}" for name in messages}
    with open(tmp_path / "run.zip", "rb") as file:
        folder = unpack_run(file, tmp_path / "runs")
    assert {name: message.read() for name, message in payloads.messages(folder).items()} == messages


def zipped_folder(pack: bytes) -> io.BytesIO:
    """A recorded run's folder as somebody zips it by hand, with a pack in it."""
    target, source = io.BytesIO(), recorded_dir() / "fashion-recipe"
    with zipfile.ZipFile(target, "w") as archive:
        for name in ("config.json", "task.json", "rounds.jsonl", "status.json"):
            archive.write(source / name, f"mine/{name}")
        archive.writestr("mine/payloads.zip", pack)
    return target


def test_a_folder_with_its_pack_can_be_brought_in(tmp_path: Path, packed: Path) -> None:
    pack = (packed / "payloads.zip").read_bytes()
    folder = unpack_run(zipped_folder(pack), tmp_path / "runs")
    assert [payload.name for payload in load_run(folder).payloads()] == UPLINK
    with pytest.raises(UnpackError, match=r"^payloads\.zip is damaged"):
        unpack_run(zipped_folder(pack[:-1]), tmp_path / "runs")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["mine"]


# Packs from strangers


def entry(name: str = "r0001-c00.png", **fields: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def a_zip(*entries: zipfile.ZipInfo, data: bytes = b"x" * 100, comment: bytes = b"") -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for info in entries:
            archive.writestr(info, data)
        archive.comment = comment
    return target.getvalue()


def patched(data: bytes, at: int, value: bytes) -> bytes:
    at %= len(data)
    return data[:at] + value + data[at + len(value) :]


ONE = a_zip(entry())
DIRECTORY = ONE.index(b"PK\1\2")
LINK = entry(create_system=3, external_attr=(stat.S_IFLNK | 0o777) << 16)
HOSTILE = {
    "empty": (b"", "too short"),
    "noise": (bytes(range(256)) * 2, "no zip"),
    "torn": (ONE[:-1], "no zip, or not all"),
    "led by something": (b"#!/bin/sh\n" + ONE, "not all of one"),
    "comment": (a_zip(entry(), comment=b"hello"), "no zip"),
    "a foreign name": (a_zip(entry("evil.sh")), "'evil.sh' is no message of a run"),
    "a path": (a_zip(entry("../r0001-c00.png")), "is no message of a run"),
    "a link": (a_zip(LINK), "is a link or a special file"),
    "a bomb": (a_zip(entry(compress_type=zipfile.ZIP_DEFLATED), data=bytes(10_000_000)), "is compressed"),
    "a method": (patched(ONE, DIRECTORY + 10, b"\x08"), "is compressed"),
    "a claim": (patched(ONE, DIRECTORY + 24, struct.pack("<L", 1 << 30)), "is compressed"),
    "two claims": (patched(ONE, DIRECTORY + 20, struct.pack("<2L", 1 << 30, 1 << 30)), "ends behind the pack"),
    "encrypted": (patched(ONE, DIRECTORY + 8, b"\1"), "is encrypted"),
    "elsewhere": (patched(ONE, DIRECTORY + 42, struct.pack("<L", 1 << 20)), "ends behind the pack"),
    "two disks": (patched(ONE, -18, b"\1"), "no zip"),
    "a new version": (patched(ONE, DIRECTORY + 6, b"\xff"), "damaged"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pack_is_refused(name: str, packed: Path) -> None:
    pack, why = HOSTILE[name]
    (packed / "payloads.zip").write_bytes(pack)
    for ask in (payloads.messages, payloads.uplink, payloads.has_uplink, lambda run: payloads.broadcast(run, 1)):
        with pytest.raises(StoreError, match=why):
            ask(packed)


def test_the_same_name_twice_is_refused(packed: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        (packed / "payloads.zip").write_bytes(a_zip(entry(), entry()))
    with pytest.raises(StoreError, match=r"'r0001-c00\.png' is there twice"):
        payloads.messages(packed)


def test_entries_that_share_their_bytes_are_refused(packed: Path) -> None:
    """Thousands of names for the same megabyte would make an export of many gigabytes."""
    data = bytearray(a_zip(*(entry(f"r{round:04d}-c00.png") for round in range(9))))
    for found in re.finditer(b"PK\1\2", bytes(data)):
        data[found.start() + 20 : found.start() + 28] = struct.pack("<2L", 400, 400)
        data[found.start() + 42 : found.start() + 46] = bytes(4)
    (packed / "payloads.zip").write_bytes(data)
    with pytest.raises(StoreError, match="promises more bytes than it has"):
        payloads.messages(packed)


def test_a_directory_of_the_large_kind_or_too_long_is_refused(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        info = entry()
        info.comment = b"PK\6\7" + bytes(16)  # where a zip of the large kind names its directory
        archive.writestr(info, b"x")
    (packed / "payloads.zip").write_bytes(target.getvalue())
    with pytest.raises(StoreError, match="of the large kind"):
        payloads.messages(packed)
    monkeypatch.setattr(payloads, "MAX_DIRECTORY", 50)
    (packed / "payloads.zip").write_bytes(ONE)
    with pytest.raises(StoreError, match="its directory has 59 bytes, at most 50 are read"):
        payloads.messages(packed)


def test_damage_shows_when_the_message_is_read(packed: Path) -> None:
    for at, why in ((50, "checksum"), (0, "is not where its directory says")):
        (packed / "payloads.zip").write_bytes(patched(ONE, at, b"\0"))
        with pytest.raises(StoreError, match=why):
            payloads.uplink(packed)[0].read()
    (packed / "payloads.zip").unlink()
    (packed / "payloads.zip").mkdir()
    with pytest.raises(StoreError, match="is no file"):
        payloads.messages(packed)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_damage_is_a_store_error_or_harmless(packed: Path, data: st.DataObject) -> None:
    pack = bytearray(a_zip(entry(), entry("r0001-down.bin")))
    for _ in range(data.draw(st.integers(1, 3))):
        pack[data.draw(st.integers(0, len(pack) - 1))] = data.draw(st.integers(0, 255))
    (packed / "payloads.zip").write_bytes(pack[: data.draw(st.integers(0, len(pack)))])
    try:
        found = {name: message.read() for name, message in payloads.messages(packed).items()}
    except StoreError:
        return
    assert all(content == b"x" * 100 for content in found.values())


def test_a_damaged_pack_is_said_where_pictures_are_drawn(tmp_path: Path) -> None:
    shutil.copytree(recorded_dir() / "fashion-recipe", tmp_path / "<img src=x>")
    (tmp_path / "<img src=x>" / "payloads.zip").write_bytes(b"no zip at all, but long enough")
    broken, whole = load_run(tmp_path / "<img src=x>"), load_run("fashion")
    with pytest.raises(StoreError, match="damaged"):
        pictures.first_message(broken, 1)
    html = report.comparison_report([broken, whole], round=1)
    assert "&lt;img src=x&gt;: the payload cannot be read." in html
    assert "<img src=x>" not in html
    assert f"{whole.payloads(1)[0].size:,} bytes" in html
