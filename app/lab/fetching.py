"""Datasets being fetched for the page, each by a thread of this server: it goes on when the tab is closed.

What a stopped or failed one leaves behind, the next one goes on from (`deltamask.datasets.download`).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from deltamask import datasets
from deltamask.base.paths import download_dir
from deltamask.datasets import DatasetError
from deltamask.datasets.download import download


class Cancelled(Exception):
    """Somebody pressed Cancel."""


@dataclass
class Fetch:
    """How far one has come. what: the file on its way; done, total: of its bytes. fault: why it ended too early."""

    name: str
    what: str = "asking"
    done: int = 0
    total: int = 1
    running: bool = True
    cancelled: bool = False
    fault: str | None = None

    def progress(self, what: str, done: int, total: int) -> None:
        """Called from the thread, for every megabyte."""
        self.what, self.done, self.total = what, done, total
        if self.cancelled:
            raise Cancelled


_fetches: dict[str, Fetch] = {}
_lock = threading.Lock()


def of(name: str) -> Fetch | None:
    """The latest fetch of this dataset, running or ended."""
    return _fetches.get(name)


def start(name: str) -> None:
    """Fetch the dataset, unless that is being done."""
    with _lock:
        before = _fetches.get(name)
        if before is not None and before.running:
            return
        fetch = _fetches[name] = Fetch(name)
    threading.Thread(target=_work, args=(fetch,), name=f"download {name}", daemon=True).start()


def cancel(name: str) -> None:
    """Ask it to stop; it does with its next megabyte."""
    if fetch := _fetches.get(name):
        fetch.cancelled = True


def _work(fetch: Fetch) -> None:
    what = datasets.get(fetch.name).download
    assert what is not None
    try:
        download(fetch.name, what, download_dir(), fetch.progress)
    except Cancelled:
        fetch.fault = f"Cancelled after {fetch.done:,} of {fetch.total:,} bytes; Download goes on from there."
    except (DatasetError, OSError) as error:
        fetch.fault = str(error)
    finally:
        fetch.running = False
