"""A kept payload as the flips that its server read. Needs no torch."""

from __future__ import annotations

from deltamask.inspection.recorded_payload import RecordedContext, carries_flips, decode, layers_of, update_of
from deltamask.masking.masks import Positions
from deltamask.runs import StoreError
from deltamask.runs.reader import Run, load_run


def decode_flips(run: Run | str, round: int, client: int = 0) -> Positions:
    """The sorted positions, int64, that the server read out of what `client` sent in `round` (from 1).

    run: a run, or its id or path. StoreError if that payload was not kept or carries no flips; DecodeError if it is
    damaged.
    """
    run = load_run(run) if isinstance(run, str) else run
    if not carries_flips(run.config, round):
        raise StoreError(f"round {round} of {run.id}: {run.config.method} sends no flips in it")
    kept = [payload for payload in run.payloads(round) if payload.client == client]
    if not kept:
        there = ", ".join(str(payload.client) for payload in run.payloads(round)) or "none"
        raise StoreError(f"{run.id} has not kept what client {client} sent in round {round}; of this round: {there}")
    return decode(run.config, update_of(run, kept[0]), RecordedContext(run, layers_of(run), round, client))
