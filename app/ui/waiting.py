"""Runs that wait their turn. One runs at a time; the list is on disk, in the folders of the runs themselves.

A waiting run is a folder with `queued.json`, so that its name is taken and the list outlives tab and server. A thread
of this server starts the next one when nothing runs; it ends when nobody waits.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock
from ui import processes

from deltamask.base.paths import runs_dir
from deltamask.config import RunConfig
from deltamask.runs.folder import new_folder, write_json
from deltamask.runs.reader import Run
from deltamask.runs.status import ACTIVE, is_alive, read_json

QUEUED = "queued.json"
PATIENCE = 1.0  # seconds between two looks whether the place is free
_thread_lock = threading.Lock()
_thread: threading.Thread | None = None


@dataclass(frozen=True)
class Waiting:
    """A run that waits. asked: when, for the order. resume: it has begun before."""

    path: Path
    config: RunConfig
    asked: str
    resume: bool


def ask_for(config: RunConfig) -> Path:
    """Queue a new run; it starts at once if nothing runs. Returns its folder."""
    while True:
        folder = new_folder(config).absolute()
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:  # another tab was quicker
            continue
    _queue(folder, config, resume=False)
    return folder


def ask_again(run: Run) -> None:
    """Queue a stopped run to go on."""
    _queue(run.path, run.config, resume=True)


def _queue(folder: Path, config: RunConfig, *, resume: bool) -> None:
    asked = datetime.now(UTC).isoformat()
    write_json(folder / QUEUED, {"config": config.model_dump(), "asked": asked, "resume": resume})
    start_next()
    keep_starting()


def waiting() -> list[Waiting]:
    """Who waits, the longest-waiting first."""
    found = []
    for file in runs_dir().glob(f"*/{QUEUED}"):
        entry: dict[str, Any] = read_json(file) or {}
        try:
            config = RunConfig(**entry["config"])
            found.append(Waiting(file.parent, config, str(entry["asked"]), bool(entry["resume"])))
        except (KeyError, TypeError, ValueError):
            continue  # torn or foreign
    return sorted(found, key=lambda entry: entry.asked)


def at_work() -> list[str]:
    """The runs under way in `runs/`, paused ones and those started elsewhere included."""
    names = []
    for file in sorted(runs_dir().glob("*/status.json")):
        status = read_json(file) or {}
        if status.get("state") in ACTIVE and is_alive(status):
            names.append(file.parent.name)
    return names


def give_up(entry: Waiting) -> None:
    """Take a run off the list. The folder of a new one goes as well."""
    (entry.path / QUEUED).unlink(missing_ok=True)
    if not entry.resume and not any(entry.path.iterdir()):
        entry.path.rmdir()


def start_now(entry: Waiting) -> None:
    """Start a waiting run beside what runs already."""
    with _queue_lock():
        if (entry.path / QUEUED).exists():
            _start(entry)


def start_next() -> None:
    """Start the run that has waited longest, if nothing runs."""
    with _queue_lock():
        entries = waiting()
        if entries and not at_work():
            _start(entries[0])


def _queue_lock() -> filelock.FileLock:
    """Two tabs, or two servers over the same folder, must not start the same run."""
    runs_dir().mkdir(parents=True, exist_ok=True)
    return filelock.FileLock(runs_dir() / ".queue.lock", timeout=30)


def _start(entry: Waiting) -> None:
    if entry.resume:
        processes.resume(entry.path)
    else:
        processes.start(entry.config, entry.path)
    (entry.path / QUEUED).unlink(missing_ok=True)


def keep_starting() -> None:
    """See to it that whoever waits will be started, also when no page is open."""
    global _thread
    with _thread_lock:
        if (_thread is None or not _thread.is_alive()) and waiting():
            _thread = threading.Thread(target=_start_all, name="waiting", daemon=True)
            _thread.start()


def _start_all() -> None:
    while waiting():
        start_next()
        processes.reap()
        time.sleep(PATIENCE)
