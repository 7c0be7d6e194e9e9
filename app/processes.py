"""Starts runs as the command a user would type, and reads run folders. Nothing here knows federated learning."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import streamlit as st

from deltamask import export
from deltamask.config import RunConfig
from deltamask.store import Run, RunFolder, StoreError, load_run, new_folder, runs_dir

LOG = "run.log"


@st.cache_resource
def _children() -> list[subprocess.Popen[bytes]]:
    """Processes this server has started, so that finished ones can be reaped."""
    return []


def _spawn(arguments: list[str], folder: Path) -> subprocess.Popen[bytes]:
    children = _children()
    children[:] = [child for child in children if child.poll() is None]
    with open(folder / LOG, "ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "deltamask.cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # closing the tab, or the server, does not end the run
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    children.append(child)
    return child


def start(config: RunConfig) -> Path:
    """Begin a run; returns its folder at once, while the process is still loading."""
    while True:
        folder = new_folder(config).absolute()
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:  # another tab was quicker
            continue
    _spawn([*shlex.split(export.command_line(config))[1:], "--out", str(folder)], folder)
    return folder


def resume(run: Run) -> None:
    """Go on with a run that stopped."""
    folder = RunFolder(run.path)
    folder.ask("run")
    child = _spawn(["resume", str(run.path.absolute())], run.path)
    folder.write_status(pid=child.pid, state="starting")  # until the process has loaded and says so itself


def ask(run: Run, word: str) -> None:
    """Ask a running run to pause, step, run or stop."""
    RunFolder(run.path).ask(word)


def read(run_id: str) -> Run | None:
    """A run by id, or None if there is no such folder (yet)."""
    try:
        return load_run(run_id)
    except StoreError:
        return None


def log_tail(run_id: str, lines: int = 4) -> str:
    """The end of a run's log."""
    try:
        return "\n".join((runs_dir() / run_id / LOG).read_text(errors="replace").strip().splitlines()[-lines:])
    except OSError:
        return ""


def reap() -> None:
    """Take leave of processes that have ended."""
    for child in _children():
        child.poll()


def started_and_gone(run_id: str) -> bool:
    """Did a run leave a log, but no config, and has its process ended?"""
    alive = any(run_id in " ".join(map(str, child.args)) and child.poll() is None for child in _children())  # type: ignore[arg-type]
    return not alive and bool(log_tail(run_id))
