"""Ctrl-C while libraries load: the process ends at once with a line, and not in the middle of somebody's import."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STATUS = 128 + signal.SIGINT  # what a shell expects of a command that Ctrl-C ended


@contextmanager
def ending_at_once() -> Iterator[None]:
    """Within the block, Ctrl-C ends this process, before anything has been begun. Where it is ignored, it stays so."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number: int, frame: FrameType | None) -> None:
    try:
        os.write(2, b"\ninterrupted\n")
    finally:
        os._exit(STATUS)
