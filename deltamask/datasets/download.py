"""Fetching a dataset's files, when asked to: checked, resumed, and put in place whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

import filelock

from deltamask.datasets.spec import DatasetError, Download, Remote

BLOCK = 1 << 20
TIMEOUT = 30.0  # seconds without an answer

Progress = Callable[[str, int, int], None]  # (what, bytes done, bytes in all)


def download(name: str, what: Download, root: Path, progress: Progress) -> None:
    """Fetch `what` into `root`. Nothing appears there before every checksum has been found right.

    Files arrive in a folder beside their place, where the next attempt finds what an interrupted one left. DatasetError
    says what went wrong and what to do.
    """
    staging = root / f".download-{name}"
    staging.mkdir(parents=True, exist_ok=True)
    _check_room(name, what, root)
    try:
        with filelock.FileLock(staging / "lock", timeout=0):
            arrived = [_fetch(name, file, staging, progress) for file in what.files]
            content = staging / "content"
            shutil.rmtree(content, ignore_errors=True)
            target = content / what.into
            target.mkdir(parents=True)
            for path in arrived:
                if what.unpack:
                    progress(f"unpacking {path.name}", 0, 1)
                    _unpack(path, target)
                else:
                    os.replace(path, target / path.name)
            _put(name, content, root)
    except filelock.Timeout:
        raise DatasetError(f"another process is downloading {name} into {root}; wait for it") from None
    shutil.rmtree(staging)


def _check_room(name: str, what: Download, root: Path) -> None:
    free, need = shutil.disk_usage(root).free, what.size * (2 if what.unpack else 1)
    if free < need:
        raise DatasetError(
            f"{name} needs {need / 1e9:.1f} GB in {root} and {free / 1e9:.1f} are free: make room, or set "
            "DELTAMASK_DATA to a folder on a larger disk"
        )


def _fetch(name: str, file: Remote, staging: Path, progress: Progress) -> Path:
    """The file, whole and checked."""
    path = staging / file.name
    try:
        _receive(file, path, progress)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        have = path.stat().st_size if path.exists() else 0
        reason = getattr(error, "reason", None) or error
        raise DatasetError(
            f"{file.url}: {reason}; {have:,} of {file.size:,} bytes are here. Check the network, then run "
            f"`deltamask download {name}` again: it goes on from there. Without a network, get the file elsewhere, "
            f"put it at {path} and run the same command: it is checked and unpacked"
        ) from error
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    if digest.hexdigest() != file.md5:
        size = path.stat().st_size
        path.unlink()
        raise DatasetError(
            f"{file.url}: wrong checksum (MD5 {digest.hexdigest()} of {size:,} bytes, expected {file.md5} of "
            f"{file.size:,}); what came has been deleted. Run `deltamask download {name}` again; if it comes out the "
            "same, the file there has changed and must not be trusted"
        )
    return path


def _receive(file: Remote, path: Path, progress: Progress) -> None:
    """Append what is missing of `file` to `path`."""
    have = path.stat().st_size if path.exists() else 0
    if have >= file.size:
        return
    request = urllib.request.Request(file.url, headers={"User-Agent": "deltamask", "Range": f"bytes={have}-"})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0  # this server sends the whole file or nothing
        with path.open("r+b" if have else "wb") as stream:
            stream.seek(have)
            while block := answer.read(BLOCK):
                stream.write(block)
                have += len(block)
                progress(f"{file.name} from {file.host}", have, file.size)
    if have < file.size:
        raise ConnectionError("the connection ended early")


def _unpack(path: Path, target: Path) -> None:
    """Unpack an archive whose checksum is known; nothing in it may land outside `target`."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                archive.extractall(target)
        else:
            with tarfile.open(path) as tar:
                tar.extractall(target, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise DatasetError(f"{path}: cannot be unpacked ({error}); delete it and try again") from error


def _put(name: str, content: Path, root: Path) -> None:
    """Move the files into place, each folder by one rename; files that are there already are left alone."""
    for path in sorted(content.iterdir()):
        target = root / path.name
        if target.is_dir() and path.is_dir():
            _put(name, path, target)
        elif target.exists():
            raise DatasetError(f"{target} is there already: move it away, then run `deltamask download {name}` again")
        else:
            os.replace(path, target)
