"""`status.json`: how far a run has come, and whether the process that says so still lives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil

from deltamask.base.files import read_regular

ACTIVE = ("starting", "running", "paused")
MAX_JSON = 50_000_000  # bytes of one JSON file


def read_json(path: Path) -> Any:
    """The file's value, or None if it is missing, torn, or larger than a small file of ours can be."""
    try:
        return json.loads(read_regular(path, MAX_JSON))
    except (OSError, ValueError, RecursionError):
        return None


def is_alive(status: dict[str, Any]) -> bool:
    """Is the process that wrote this status still there (and not another one with its pid)?"""
    try:
        process = psutil.Process(int(status["pid"]))
        same = abs(process.create_time() - float(status["pid_started"])) < 1
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (KeyError, TypeError, ValueError, psutil.Error):
        return False
