"""A machine that is not one's own: an installation and a home that cannot be written, whoever runs the tests."""

from __future__ import annotations

import ctypes
import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DROP_FROM_BOUNDS = 24  # prctl's PR_CAPBSET_DROP
WRITES_ANYWHERE, READS_ANYWHERE = 1, 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


def obey_permissions() -> None:
    """For `preexec_fn`: what the child runs may write only where permissions say so, also if root runs it."""
    if os.geteuid() == 0:
        for capability in (WRITES_ANYWHERE, READS_ANYWHERE):
            if ctypes.CDLL(None, use_errno=True).prctl(DROP_FROM_BOUNDS, capability, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "cannot drop root's right to write anywhere")


def read_only(folder: Path) -> Path:
    """Take the right to write from a folder and all that is in it."""
    for path in (*folder.rglob("*"), folder):
        path.chmod(path.stat().st_mode & ~0o222)
    return folder


def writable(folder: Path) -> None:
    """Give it back, so that the folder can be removed."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200)


def installation(place: Path) -> Path:
    """A copy of the package without anything compiled, as an administrator installs it."""
    shutil.copytree(ROOT / "deltamask", place / "deltamask", ignore=shutil.ignore_patterns("__pycache__"))
    return read_only(place)
