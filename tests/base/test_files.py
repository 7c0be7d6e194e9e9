"""Files that are whole or not there, on the disk when they are said to be."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from deltamask.base.files import open_regular, read_regular, write_atomic


def test_a_rename_is_on_the_disk_before_anybody_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file first, then its name, then the folder that holds the name: a power cut leaves one of both files."""
    done: list[str] = []
    sync, replace = os.fsync, os.replace

    def synced(handle: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        sync(handle)

    def renamed(old: Path, new: Path) -> None:
        done.append("rename")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    with write_atomic(tmp_path / "file") as file:
        file.write(b"new")
    assert done == ["file", "rename", "folder"]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_that_could_not_be_finished_leaves_the_old_one_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")

    def cut_short() -> None:
        with write_atomic(tmp_path / "file") as file:
            file.write(b"ne")
            raise KeyError

    with pytest.raises(KeyError):
        cut_short()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_only_regular_files_up_to_a_size_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1234")
    os.mkfifo(tmp_path / "pipe")
    assert read_regular(tmp_path / "file", 4) == b"1234"
    faults = {"file": "4 bytes, at most 3", "pipe": "not a regular file", ".": "Is a directory", "gone": "No such file"}
    for name, fault in faults.items():
        with pytest.raises(OSError, match=fault), open_regular(tmp_path / name, 3):
            pass
