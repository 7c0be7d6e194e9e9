"""Starts runs as the command a user would type, and reads run folders. Nothing here knows federated learning."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from deltamask.base.paths import runs_dir
from deltamask.config import RunConfig
from deltamask.runs import StoreError, export
from deltamask.runs.folder import RunFolder
from deltamask.runs.reader import Run, load_run
from deltamask.runs.status import is_alive, read_json

LOG = "run.log"
_children: list[subprocess.Popen[bytes]] = []  # started by this server, so that finished ones can be reaped


def start(config: RunConfig, folder: Path) -> None:
    """Begin a run in its folder, which holds no config yet."""
    _spawn([*shlex.split(export.command_line(config))[1:], "--out", str(folder)], folder)


def resume(folder: Path) -> None:
    """Go on with a run that stopped."""
    RunFolder(folder).ask("run")
    _spawn(["resume", str(folder.absolute())], folder)


def _spawn(arguments: list[str], folder: Path) -> None:
    reap()
    with open(folder / LOG, "ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "deltamask.cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # closing the tab, or the server, does not end the run
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    RunFolder(folder).write_status(pid=child.pid, state="starting")  # until the process has loaded and says so itself
    _children.append(child)


def ask(run: Run, word: str) -> None:
    """Ask a running run to pause, step, run or stop."""
    RunFolder(run.path).ask(word)


def read(run_id: str) -> Run | None:
    """A run by id, or None if there is no such folder (yet). An id is no path: links come from anywhere."""
    try:
        return load_run(run_id) if _is_id(run_id) else None
    except StoreError:
        return None


def log_tail(run_id: str, lines: int = 4) -> str:
    """The end of a run's log."""
    if not _is_id(run_id):
        return ""
    try:
        return "\n".join((runs_dir() / run_id / LOG).read_text(errors="replace").strip().splitlines()[-lines:])
    except OSError:
        return ""


def reap() -> None:
    """Take leave of processes that have ended."""
    _children[:] = [child for child in _children if child.poll() is None]


def is_starting(run_id: str) -> bool:
    """Does a process live for a folder that holds no config yet?"""
    return _is_id(run_id) and is_alive(read_json(runs_dir() / run_id / "status.json") or {})


def _is_id(run_id: str) -> bool:
    return Path(run_id).name == run_id and "\0" not in run_id and len(run_id) < 256


def can_resume(run: Run) -> bool:
    """A run that came as a zip has no checkpoint; it can only be looked at."""
    return not run.status.get("uploaded") and (len(run.records) <= 1 or (run.path / "state.safetensors").exists())
