"""`deltamask run` as a user starts it, in a process of its own that knows the tiny backbone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deltamask import simulate
from deltamask.config import RunConfig
from deltamask.runs.folder import RunFolder
from deltamask.runs.runner import execute
from tests.support.tiny import flags, timeless

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-c", "import tests.support.tiny, deltamask.cli as c; raise SystemExit(c.main())"]
PATIENCE = 90.0  # seconds, on a busy machine


def start(arguments: list[str], **options: Any) -> subprocess.Popen[str]:
    """`deltamask …` in a process of its own that knows the tiny backbone."""
    return subprocess.Popen(
        [*COMMAND, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


@contextmanager
def started(arguments: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """The same; it never outlives the test."""
    process = start(arguments, **options)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def run_and_kill(config: RunConfig, path: Path) -> None:
    """`deltamask run` into `path`, killed a moment after its second record."""
    with started(["run", *flags(config), "--out", str(path)]) as process:
        wait_until(lambda: len(records(path)) >= 2, process)
        time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(PATIENCE) == -signal.SIGKILL


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)


def records(path: Path) -> list[dict[str, Any]]:
    """Whole lines of rounds.jsonl, read without our reader."""
    try:
        text = (path / "rounds.jsonl").read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def uninterrupted(config: RunConfig) -> list[dict[str, Any]]:
    """What an uninterrupted run of this config records, seconds left out."""
    return [json.loads(json.dumps(timeless(record))) for record in simulate(config)]


def quiet(config: RunConfig, folder: RunFolder) -> str:
    return execute(folder, config, on_record=lambda record: None, show=lambda what, done, total: None)
