"""What is printed, wherever it goes: nothing that is wrong with a terminal or a pipe ends, distorts or hides a run.

Texts are shown as they are: no markup, no emoji codes. Whoever closes a pipe has read enough. A console whose encoding
lacks a letter gets another spelling of it.
"""

from __future__ import annotations

import codecs
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table

GONE = (errno.EPIPE, errno.EIO, errno.EBADF)  # of a reader that is gone: a closed pipe, a terminal that was closed
WIDE = 10_000  # columns: more than any line
SPELT = {
    "–": "-", "—": "-", "−": "-", "≤": "<=", "≥": ">=", "≠": "!=", "×": "x", "·": ".", "…": "...", "±": "+-", "≈": "~",
    "→": "->", "⌈": "ceil(", "⌉": ")", "²": "^2", "’": "'", "‘": "'", "“": '"', "”": '"', "θ": "theta", "κ": "kappa",
    "ρ": "rho", "α": "alpha", "η": "eta", "τ": "tau", "ε": "epsilon", "Δ": "Delta", "Σ": "Sigma",
}  # fmt: skip


class _Console(Console):
    """Rich draws frames and bars in ASCII where it is told of the encoding; it asks only a file of its own."""

    @property
    def encoding(self) -> str:
        return (getattr(self.file, "encoding", None) or "utf-8").lower()


def console(*, stderr: bool = False, width: int | None = None) -> Console:
    """Where people read: stdout or stderr. It prints every text as it is."""
    return _Console(stderr=stderr, width=width, markup=False, emoji=False, highlight=False, soft_wrap=True)


def print_table(table: Table) -> None:
    """A table on stdout, as wide as what is in it: a name that is cut short cannot be typed."""
    options = console().options.update(max_width=WIDE)
    console(width=console().measure(table, options=options).maximum).print(table)


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letter = error.object[error.start]
    known = SPELT.get(letter)
    return known or letter.encode("ascii", "backslashreplace").decode("ascii"), error.start + 1


codecs.register_error("spell", _spell)


class _Stream:
    """A text stream that never raises when its reader is gone; `fault` is what else went wrong, such as a full disk."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.fault: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._lost():
            self._stream.write(text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with self._lost():
            self._stream.flush()

    @contextmanager
    def _lost(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in GONE:
                self.fault = self.fault or error
            self._forget()

    def _forget(self) -> None:
        """Send what is still to come nowhere, also what Python itself flushes when it ends."""
        with suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextmanager
def lasting_streams() -> Iterator[_Stream | None]:
    """Within the block, stdout and stderr are such streams. Yields stdout; None where there is none."""
    before = sys.stdout, sys.stderr
    for stream in before:
        with suppress(AttributeError, ValueError, OSError):  # a test's, or a notebook's
            stream.reconfigure(errors="spell")  # type: ignore[union-attr]
    out, err = (_Stream(stream) if stream is not None else None for stream in before)
    sys.stdout, sys.stderr = out, err
    try:
        yield out
    finally:
        for each in (out, err):
            if each is not None:
                each.flush()
        sys.stdout, sys.stderr = before
