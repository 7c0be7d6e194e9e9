"""Fetching a dataset's files, when asked to: checked, resumed, and put in place whole or not at all."""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import filelock

from deltamask.base.progress import Progress
from deltamask.base.remote import FetchError, fetch
from deltamask.datasets.spec import DatasetError, Download


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
            arrived = [staging / file.name for file in what.files]
            for file, path in zip(what.files, arrived, strict=True):
                fetch(file, path, f"deltamask download {name}", progress)
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
    except FetchError as error:
        raise DatasetError(str(error)) from error
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
