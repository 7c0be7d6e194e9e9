"""Locks on files: one process at a time, and whether there is one. The system frees a lock when its process is gone."""

from __future__ import annotations

import os
from pathlib import Path

import filelock

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOOK = 1.0  # seconds that a taker waits: whoever only looks at a lock has it for an instant


def is_held(path: Path) -> bool:
    """Does a process hold this lock? Also one of another machine, where the file system is shared.

    Nothing is written where the system lets one look: another user's folder can be asked too.
    """
    if fcntl is None:
        return _cannot_be_taken(path)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no such locks on this file system: then `filelock` makes do with a file that holds a name
        return _cannot_be_taken(path)
    finally:
        os.close(handle)
    return False


def _cannot_be_taken(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        with filelock.FileLock(path, timeout=0):
            return False
    except filelock.Timeout:
        return True
    except OSError:
        return False
