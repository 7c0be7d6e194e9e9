"""Reads a file of JSON lines that another process appends to: each line is parsed once, however often one asks."""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEPT_FILES = 256  # how many files' records are held; the least recently asked for goes first


@dataclass(frozen=True)
class _Read:
    """What is known of a file: its inode, how far its whole lines reach, the last of them, and what they say."""

    inode: int
    end: int
    last: bytes
    records: tuple[dict[str, Any], ...]


_files: OrderedDict[Path, _Read] = OrderedDict()
_lock = threading.Lock()
_NEW = _Read(0, 0, b"", ())


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records in `path`, up to the first line that is torn; none if it is missing. Shared: do not change them."""
    path = path.absolute()
    with _lock:
        known = _files.pop(path, _NEW)
        try:
            with open(path, "rb") as file:
                known = _go_on(file, known)
        except OSError:
            return []
        _files[path] = known
        if len(_files) > KEPT_FILES:
            _files.popitem(last=False)
    return list(known.records)


def _go_on(file: Any, known: _Read) -> _Read:
    """Read what has been added, or all of it if this is not the file that was read before, or no longer."""
    stat = os.fstat(file.fileno())
    same = stat.st_ino == known.inode and stat.st_size >= known.end
    if same:
        file.seek(known.end - len(known.last))
        same = file.read(len(known.last)) == known.last
    if not same:
        known = _Read(stat.st_ino, 0, b"", ())
    if stat.st_size == known.end:
        return known
    file.seek(known.end)
    *lines, _torn = file.read().split(b"\n")  # what follows the last newline is torn or empty
    end, last, records = known.end, known.last, list(known.records)
    for line in lines:
        record = _record(line)
        if record is None:
            break  # nothing behind it counts
        records.append(record)
        last = line + b"\n"
        end += len(last)
    return _Read(known.inode, end, last, tuple(records))


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and "round" in record else None
