"""Reads `rounds.jsonl`, to which another process may append: each line is parsed once, however often one asks."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from deltamask.base.files import open_regular
from deltamask.runs import StoreError
from deltamask.simulation.records import RecordError, parse_record

KEPT_FILES = 256  # how many files' records are held; the least recently asked for goes first
MAX_FILE = 1_000_000_000  # bytes
MAX_LINE = 50_000_000


@dataclass(frozen=True)
class _Read:
    """What has been read of a file: its inode, how far its whole lines reach, the last of them, and what they say.

    fault: why the line behind them is no record, else None. torn: is there the beginning of a line behind them?
    """

    inode: int = 0
    end: int = 0
    last: bytes = b""
    records: tuple[dict[str, Any], ...] = ()
    fault: str | None = None
    torn: bool = False


_files: OrderedDict[Path, _Read] = OrderedDict()
_lock = threading.Lock()


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records in `path`, of rounds 0, 1, …; none if it is missing. They are shared: do not change them.

    A last line without its end is torn, or about to be written, and ignored. StoreError for any other line that is no
    record, or not of the round that follows.
    """
    path = path.absolute()
    with _lock:
        before = _files.pop(path, _Read())
        try:
            with open_regular(path, MAX_FILE) as file:
                found = _go_on(file, before)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error.strerror}") from None
        _files[path] = found
        if len(_files) > KEPT_FILES:
            _files.popitem(last=False)
    if found.fault is not None:
        raise StoreError(f"{path} is damaged: {found.fault}")
    return list(found.records)


def has_torn_end(path: Path) -> bool:
    """Does the file end in the middle of a line?"""
    with open_regular(path, MAX_FILE) as file:
        return _go_on(file, _Read()).torn


def _go_on(file: BinaryIO, before: _Read) -> _Read:
    """Read what has been added, or all of it if this is not the file that was read before, or no longer."""
    stat = os.fstat(file.fileno())
    same = stat.st_ino == before.inode and stat.st_size >= before.end
    if same:
        file.seek(before.end - len(before.last))
        same = file.read(len(before.last)) == before.last
    if not same:
        before = _Read(stat.st_ino)
        file.seek(0)
    end, last, records = before.end, before.last, list(before.records)
    fault, torn = None, False
    while line := file.readline(MAX_LINE):
        if not line.endswith(b"\n"):
            torn = True
            if len(line) == MAX_LINE:
                fault = f"line {len(records) + 1} is over {MAX_LINE:,} bytes long"
            break
        try:
            records.append(_following(parse_record(line), len(records)))
        except RecordError as error:
            fault = f"line {len(records) + 1}: {error}"  # nothing behind it counts
            break
        last = line
        end += len(line)
    return _Read(stat.st_ino, end, last, tuple(records), fault, torn)


def _following(record: dict[str, Any], round: int) -> dict[str, Any]:
    if record["round"] != round:
        raise RecordError(f"it is of round {record['round']}, and that of round {round} should stand there")
    return record
