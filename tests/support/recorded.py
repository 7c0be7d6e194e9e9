"""Small runs recorded by the real runner, and the payloads in them."""

from __future__ import annotations

from pathlib import Path

from deltamask.config import RunConfig
from deltamask.inspection import recorded_payload
from deltamask.inspection.recorded_payload import Flips, RecordedContext
from deltamask.runs.folder import RunFolder
from deltamask.runs.payloads import Payload
from deltamask.runs.reader import Run, load_run
from deltamask.runs.runner import execute


def record_run(config: RunConfig, folder: Path) -> Run:
    """Run `config` into a new folder, and read it."""
    execute(RunFolder.create(folder, config), config, on_record=lambda r: None, show=lambda what, done, total: None)
    return load_run(folder)


def context_of(run: Run, payload: Payload) -> RecordedContext:
    return RecordedContext(run, recorded_payload.layers_of(run), payload.round, payload.client)


def flips_of(run: Run, payload: Payload) -> Flips:
    return recorded_payload.flips_of(run, payload, payload.read(), context_of(run, payload))
