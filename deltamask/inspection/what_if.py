"""Repeat a round of a recorded run with one payload replaced, and measure the accuracy. Needs torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from deltamask import training
from deltamask.inspection import recorded_payload
from deltamask.methods.base import Receipt, State
from deltamask.methods.head_round import HeadRoundState, method_of, scaled
from deltamask.runs import StoreError
from deltamask.runs.reader import Run
from deltamask.task.task import Task, load_task


def replace_payload(run: Run, round: int, client: int, replacement: bytes) -> dict[str, Any]:
    """Accuracy after `round` with the client's own payload, and with `replacement`.

    Both are measured: the server's updates of all rounds up to this one are repeated from the kept payloads, so the
    first figure must equal the record's. Keys of the answer: round, client, dropped (why the server refuses the
    replacement, or None), recorded, accuracy, changed. Raises StoreError where payloads are missing.
    """
    payloads = _payloads(run, round)
    if (missing := recorded_payload.missing_payload(run, round)) is not None:
        raise StoreError(f"the round cannot be repeated: {missing}")
    if client not in payloads:
        raise StoreError(f"client {client} sent nothing in round {round}")
    task = load_task(run.config)
    state = _state_before(run, task, round)
    accuracy, _ = _repeat(run, task, state, round, payloads)
    changed, dropped = _repeat(run, task, state, round, {**payloads, client: replacement})
    recorded = next(record["accuracy"] for record in run.records if record["round"] == round)
    return {
        "round": round,
        "client": client,
        "dropped": dropped.get(client),
        "recorded": recorded,
        "accuracy": accuracy,
        "changed": changed,
    }


def _state_before(run: Run, task: Task, round: int) -> State:
    """The server's state after round − 1, by the method's own updates."""
    config, probe, method = run.config, method_of(run.config, 0), method_of(run.config, 1, task.label_counts)
    state = probe.init(task, config, np.zeros(task.head_size, np.float32))
    if round == 0:
        return state
    state = probe.server_update(config, state, 0, iter(_payloads(run, 0).items()), _ignore)
    recorded = run.records[0].get("head_temperature")
    if isinstance(state, HeadRoundState) and recorded:  # chosen from messages that no run keeps
        state = scaled(state, recorded / float(state.temperature[0]))
    state = method.init(task, config, state.head)
    for past in range(1, round):
        state = method.server_update(config, state, past, iter(_payloads(run, past).items()), _ignore)
    return state


def _repeat(
    run: Run, task: Task, state: State, round: int, payloads: dict[int, bytes]
) -> tuple[float, dict[int, str | None]]:
    """(accuracy after the round, client → why its payload was dropped, None if it was used)."""
    config, method = run.config, method_of(run.config, round, task.label_counts)
    dropped: dict[int, str | None] = {}

    def note(receipt: Receipt) -> None:
        dropped[receipt.client] = receipt.dropped

    after = method.server_update(config, state, round, iter(payloads.items()), note)
    _, weights = next(iter(method.effective(task, config, after, round)))
    return training.evaluate(task, weights, after.head).accuracy, dropped


def _payloads(run: Run, round: int) -> dict[int, bytes]:
    """The kept payloads of a round, in the order in which the server took them. StoreError without such a round."""
    record = next((record for record in run.records if record["round"] == round), None)
    if record is None:
        raise StoreError(f"{run.id} has no round {round}")
    kept = {payload.client: payload for payload in run.payloads(round)}
    return {
        line["client"]: kept[line["client"]].read()
        for line in record["clients"]
        if line["uplink_bytes"] and line["client"] in kept
    }


def _ignore(receipt: Receipt) -> None:
    """Receipts of earlier rounds are in the record already."""
