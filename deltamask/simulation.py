"""The loop. `simulate` yields one RoundRecord a round; every yield is a point to pause, stop, or be killed at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from deltamask import noise, training
from deltamask.bookkeeping import RoundBook
from deltamask.config import RunConfig
from deltamask.courier import Courier, sampled_clients
from deltamask.methods import methods
from deltamask.methods.base import ClientReport, Method, State
from deltamask.records import RoundRecord
from deltamask.task import Task, load_task


class Checkpoint(NamedTuple):
    """Where to go on: the last finished round, the server's state after it, and the sizes of the broadcasts so far."""

    round: int
    state: State
    broadcasts: tuple[int, ...] = ()


class Observer:
    """What a caller may want to see as it happens. This one looks away; override what you need."""

    def progress(self, what: str, done: int, total: int) -> None:
        """Something long has come so far."""

    def broadcast(self, round: int, message: bytes) -> None:
        """The downlink message that opens a round."""

    def payload(self, round: int, client: int, order: int, suffix: str, payload: bytes) -> None:
        """A client's uplink message; it is the `order`-th of the round, from 0."""

    def report(self, round: int, client: int, order: int, report: ClientReport) -> None:
        """What only this client knows of its payload; called after `payload`."""

    def finished(self, record: RoundRecord, checkpoint: Checkpoint) -> None:
        """A round is over; called before its record is yielded."""


def simulate(
    config: RunConfig, *, task: Task | None = None, start: Checkpoint | None = None, observer: Observer | None = None
) -> Iterator[RoundRecord]:
    """Run `config` round by round. `start` goes on from a checkpoint, with the same results as an uninterrupted run."""
    observer = observer or Observer()
    task = task or load_task(config, observer.progress)
    method, probe = methods[config.method], methods["linear-probe"]

    if start is None:
        empty = probe.init(task, config, np.zeros(task.head_size, np.float32))
        record, probed = play_round(probe, task, config, empty, 0, Courier(probe, task, config), observer)
        start = Checkpoint(0, method.init(task, config, probed.head))
        observer.finished(record, start)
        yield record

    state = start.state
    courier = Courier(method, task, config, start.broadcasts)
    for round in range(start.round + 1, config.rounds + 1):
        record, state = play_round(method, task, config, state, round, courier, observer)
        observer.finished(record, Checkpoint(round, state, tuple(courier.sizes.values())))
        yield record


def play_round(
    method: Method, task: Task, config: RunConfig, state: State, round: int, courier: Courier, observer: Observer
) -> tuple[RoundRecord, State]:
    """One round: broadcast, local updates, payloads, aggregation, evaluation."""
    book = RoundBook(task, round)
    sampled = sampled_clients(config, round)
    with book.clock("broadcast"):
        message = courier.open(state, round)
        book.broadcast_bytes = len(message)
        observer.broadcast(round, message)

    def payloads() -> Iterator[tuple[int, bytes]]:
        for order, client in enumerate(sampled):
            observer.progress(f"round {round}, clients", order, len(sampled))
            book.ledger.down(courier.deliver(client, round))
            if noise.generator(config.seed, "dropout", round=round, client=client).random() < config.dropout:
                book.lost(client, "vanished before it answered")
                continue
            try:
                upload = method.client_update(task, config, round, client, courier.memory)
            except FloatingPointError as error:  # its training diverged: the round goes on without this client
                book.lost(client, str(error))
                continue
            book.sent(client, upload)
            observer.payload(round, client, order, upload.suffix, upload.payload)
            observer.report(round, client, order, upload.report)
            yield client, upload.payload

    with book.clock("server"):
        state = method.server_update(config, state, round, payloads(), book.received)
    with book.clock("evaluate"):
        evaluations = {
            name: training.evaluate(task, weights, state.head)
            for name, weights in method.effective(task, config, state, round)
        }
    observer.progress(f"round {round}, clients", len(sampled), len(sampled))
    return book.close(evaluations, getattr(state, "theta", None)), state
