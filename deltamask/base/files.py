"""Files that are either whole or not there, and files of others that may be anything."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import psutil

TEMPORARY = ".tmp"  # the ending of a file that is being written; its name begins with a dot
_WRITER = re.compile(r"\..+\.(\d+)-\w+\.tmp")


@contextmanager
def write_atomic(path: Path) -> Iterator[BinaryIO]:
    """A binary file that takes the place of `path` when the block ends well, and leaves it alone otherwise.

    File and folder are on the disk when it returns: a power cut afterwards loses neither. Who may read it, the umask
    says, as of any new file. An OSError names `path`.
    """
    name = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(8)}{TEMPORARY}")
    with naming(path):
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            name.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An OSError within the block says that it was about this path: a full disk, for one, names nothing."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


def is_being_written(path: Path) -> bool:
    """Is this the unfinished file of a process that lives? Its name says whose it is."""
    writer = _WRITER.fullmatch(path.name)
    return writer is not None and psutil.pid_exists(int(writer[1]))


def _sync_folder(folder: Path) -> None:
    """A rename is on the disk when its folder is. Some systems cannot do that for a folder."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


@contextmanager
def open_regular(path: Path, most: int) -> Iterator[BinaryIO]:
    """A file from anywhere, open for reading. OSError where it is missing, no regular file, or over `most` bytes.

    A pipe or a device would be waited for, or never end.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if found.st_size > most:
            raise OSError(errno.EFBIG, f"{found.st_size:,} bytes, at most {most:,} are read", str(path))
        yield file


def read_regular(path: Path, most: int) -> bytes:
    """The bytes of such a file."""
    with open_regular(path, most) as file:
        return file.read(most)
