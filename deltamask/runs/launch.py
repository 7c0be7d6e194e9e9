"""The only place that starts a `deltamask` process: for the page, for a sweep, and for whoever wants its answer.

Each process runs the command that a user would type. Needs no torch.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from deltamask.config import RunConfig
from deltamask.runs import StoreError
from deltamask.runs.export import command_words

COMMAND = (sys.executable, "-m", "deltamask.cli")
THREAD_LIMITS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS")
COMPLAINT = 600  # characters of a failed command's last words


def start(
    config: RunConfig, folder: Path, log: Path, *, threads: int | None = None, command: Sequence[str] = COMMAND
) -> subprocess.Popen[bytes]:
    """`deltamask run` of `config` into `folder`, which holds no run yet. What it prints is appended to `log`.

    threads: the limit for each of its libraries; by default what the environment says. Raises StoreError if there can
    be no such process.
    """
    return _spawn([*command, *command_words(config)[1:], "--out", str(folder)], log, threads)


def resume(
    folder: Path, log: Path, *, threads: int | None = None, command: Sequence[str] = COMMAND
) -> subprocess.Popen[bytes]:
    """`deltamask resume` of the run in `folder`. As `start` otherwise."""
    return _spawn([*command, "resume", str(folder)], log, threads)


def answer(words: Sequence[str], *, timeout: float, command: Sequence[str] = COMMAND) -> str:
    """What a subcommand prints, waited for `timeout` seconds at most. StoreError with the complaint if it fails."""
    try:
        done = subprocess.run(
            [*command, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise StoreError(f"deltamask {words[0]}: {type(error).__name__}: {error}") from error
    if done.returncode:
        raise StoreError(done.stderr.strip()[-COMPLAINT:] or f"the command ended with status {done.returncode}")
    return done.stdout


def _spawn(words: Sequence[str], log: Path, threads: int | None) -> subprocess.Popen[bytes]:
    limits = {} if threads is None else dict.fromkeys(THREAD_LIMITS, str(threads))
    try:
        with open(log, "ab") as printed:
            return subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                start_new_session=True,  # neither Ctrl-C, nor the end of the page's server, reaches the run by itself
                env={**os.environ, "PYTHONUNBUFFERED": "1", **limits},
            )
    except (OSError, ValueError) as error:  # ValueError: a NUL or a lone surrogate, which no argument can hold
        raise StoreError(f"the run cannot be started: {error}") from error
