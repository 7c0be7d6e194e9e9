"""What a page asks of a run by its id: its folder, its log, and whether it can go on. Nothing here starts anything."""

from __future__ import annotations

import os

from deltamask.base.files import open_regular
from deltamask.base.paths import runs_dir
from deltamask.runs import StoreError
from deltamask.runs.folder import is_run_id
from deltamask.runs.queue import LOG
from deltamask.runs.reader import Run, load_run
from deltamask.runs.status import is_alive, read_json
from deltamask.studies.measured import measured_run

MAX_LOG = 1 << 40
TAIL = 64_000  # bytes of a log that are looked at


def read(run_id: str) -> Run | None:
    """A run by id, with a folder or out of the studies' tables, or None if there is none (yet). An id is no path: links
    come from anywhere."""
    try:
        return load_run(run_id) if is_run_id(run_id) else measured_run(run_id)
    except StoreError:
        return None


def log_tail(run_id: str, lines: int = 4) -> str:
    """The end of a run's log."""
    if not is_run_id(run_id):
        return ""
    try:
        with open_regular(runs_dir() / run_id / LOG, most=MAX_LOG) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
            return "\n".join(file.read().decode(errors="replace").strip().splitlines()[-lines:])
    except OSError:
        return ""


def is_starting(run_id: str) -> bool:
    """Does a process live for a folder that holds no config yet?"""
    folder = runs_dir() / run_id
    return is_run_id(run_id) and is_alive(folder, read_json(folder / "status.json") or {})


def can_resume(run: Run) -> bool:
    """One that came as a zip has no checkpoint and can only be looked at; so can a recorded one."""
    if run.uploaded or run.path.absolute().parent != runs_dir().absolute():
        return False
    return len(run.records) <= 1 or (run.path / "state.safetensors").exists()
