"""`status.json`: how far a run has come, and whether a process is at it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil

from deltamask.base.files import read_regular
from deltamask.base.locks import is_held

ACTIVE = ("starting", "running", "paused")
LOCK = "run.lock"  # in a run's folder, held by the process that runs it
MAX_JSON = 50_000_000  # bytes of one JSON file


def read_json(path: Path) -> Any:
    """The file's value, or None if it is missing, torn, or larger than a small file of ours can be."""
    try:
        return json.loads(read_regular(path, MAX_JSON))
    except (OSError, ValueError, RecursionError):
        return None


def is_alive(folder: Path, status: dict[str, Any]) -> bool:
    """Does a process run this folder? Its lock says so, whatever a copied status claims, and on whatever machine it is.

    A process that has been started and is still loading holds none; until then its pid counts.
    """
    return is_held(folder / LOCK) or (status.get("state") == "starting" and _has_started(status))


def _has_started(status: dict[str, Any]) -> bool:
    """Is the process that this status names there (and not another one with its pid)?"""
    try:
        process = psutil.Process(int(status["pid"]))
        same = abs(process.create_time() - float(status["pid_started"])) < 1
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (KeyError, TypeError, ValueError, OverflowError, psutil.Error):
        return False
