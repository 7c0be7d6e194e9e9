"""Reads what the first page needs while its visitor's browser still opens: libraries, and the runs there are."""

from __future__ import annotations

import importlib
import threading

from deltamask.base.paths import recorded_dir, runs_dir

PARTS = ("plotly.graph_objects", "lab.controls", "lab.panels", "lab.sources", "ui.exports", "deltamask.studies.tables")


def start() -> threading.Thread:
    """Begin in the background, once a server. Nothing depends on it: a page that comes earlier reads for itself."""
    thread = threading.Thread(target=_read, name="warm", daemon=True)
    thread.start()
    return thread


def _read() -> None:
    for part in PARTS:
        importlib.import_module(part)
    from deltamask.runs.reader import list_runs

    list_runs(runs_dir(), recorded_dir())
