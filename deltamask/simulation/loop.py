"""The loop. `simulate` yields one RoundRecord a round; every yield is a point to pause, stop, or be killed at."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from deltamask import training
from deltamask.attacks.base import Lies
from deltamask.codecs.wire.dense import Head
from deltamask.config import RunConfig
from deltamask.masking import noise
from deltamask.methods import head_round
from deltamask.methods.base import ClientReport, Memory, Method, State, Upload
from deltamask.methods.head_round import method_of
from deltamask.methods.participation import sampled_clients
from deltamask.privacy import plan
from deltamask.simulation import commit
from deltamask.simulation.alone import check_alone, compare_alone
from deltamask.simulation.delivery import Delivery
from deltamask.simulation.records import LAST, RoundRecord
from deltamask.simulation.round_recorder import RoundRecorder
from deltamask.task.task import Task, load_task


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


class Steps(Observer):
    """Passes on progress, and nothing else."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def progress(self, what: str, done: int, total: int) -> None:
        self._observer.progress(what, done, total)


@dataclass(frozen=True)
class OpenRound:
    """A round that waits for answers. sampled: the clients' ids. message: the broadcast. delivery: who lacks what."""

    method: Method
    round: int
    sampled: list[int]
    message: bytes
    delivery: Delivery


class Answer(NamedTuple):
    """What came of one sampled client. delivered: bytes it was sent. upload: its payload, or why there is none."""

    client: int
    delivered: int
    upload: Upload | str


def exchanges_left(config: RunConfig, start: Checkpoint | None) -> int:
    """How often a run still goes to its clients and back: once a round, in round 0 maybe twice."""
    return head_round.exchanges(config) + config.rounds if start is None else config.rounds - start.round


Server = Generator[OpenRound | RoundRecord, Iterable[Answer] | None, None]


def simulate(
    config: RunConfig, *, task: Task | None = None, start: Checkpoint | None = None, observer: Observer | None = None
) -> Iterator[RoundRecord]:
    """Run `config` round by round. `start` goes on from a checkpoint, with the same results as an uninterrupted run.

    task: by default what the config describes; `make_task` makes one from your own network and tensors. observer: is
    shown payloads, reports and records as they happen. ValueError if the task is for another number of clients, the
    method cannot do what `compare_alone` asks for, or the run cannot keep what `dp` promises. With `dp` it ends
    before a round that would spend more than ε.
    """
    check_alone(config)
    observer = observer or Observer()
    task = task or load_task(config, observer.progress)
    if len(task.shards) != config.clients:
        raise ValueError(f"clients = {config.clients}, and the task has shards for {len(task.shards)}")

    plan.check(config, task.samples.tolist())
    lies = Lies(config, task)
    known = lies.registered()

    def answers(opened: OpenRound) -> Iterator[Answer]:
        for client in opened.sampled:
            delivered = opened.delivery.deliver(client, opened.round)
            at = opened.round, client, opened.delivery.memory
            own = lies.task_of(client)
            upload = client_round(opened.method, own, config, *at)
            yield Answer(client, delivered, lies.told(upload, opened.method, own, known, *at))

    compare = partial(compare_alone, task, config, observer.progress) if config.compare_alone else None
    server = serve(config, known, start, observer, compare)
    event = next(server, None)
    while event is not None:
        if isinstance(event, RoundRecord):
            yield event
            event = next(server, None)
        else:
            event = server.send(answers(event))


def client_round(
    method: Method, task: Task, config: RunConfig, round: int, client: int, memory: Memory
) -> Upload | str:
    """A client's part of a round: its payload, or why there is none."""
    if noise.generator(config.seed, "dropout", round=round, client=client).random() < config.dropout:
        return "vanished before it answered"
    try:
        return method.client_update(task, config, round, client, memory)
    except FloatingPointError as error:  # its training diverged: the round goes on without this client
        return str(error)


def serve(
    config: RunConfig,
    task: Task,
    start: Checkpoint | None,
    observer: Observer,
    compare: Callable[[RoundRecord, Head], RoundRecord] | None = None,
) -> Server:
    """The server's part of a run, wherever its clients are: yields each round as it opens, is sent the answers (an
    iterator that is read as the payloads are decoded), and yields the round's record. compare: adds to round 0's record
    what only somebody knows who has all clients' data."""
    method = method_of(config, 1, task.label_counts)

    if start is None:
        record, head = yield from play_head_round(task, config, observer)
        if compare is not None:
            record = compare(record, head)
        record = with_epsilon(config, task, record)
        start = Checkpoint(0, method.init(task, config, head))
        observer.finished(record, start)
        yield record

    state = start.state
    delivery = Delivery(method, task, config, start.broadcasts)
    for round in range(start.round + 1, config.rounds + 1):
        if plan.is_spent(config, task.samples.tolist(), round):
            return
        record, state = yield from play_round(method, task, config, state, round, delivery, observer)
        record = with_epsilon(config, task, record)
        observer.finished(record, Checkpoint(round, state, tuple(delivery.sizes.values())))
        yield record


def with_epsilon(config: RunConfig, task: Task, record: RoundRecord) -> RoundRecord:
    """The record with what has been spent, where a run promises something."""
    if not plan.is_private(config):
        return record
    return replace(record, epsilon=plan.epsilon(config, task.samples.tolist(), record.round))


def play_head_round(
    task: Task, config: RunConfig, observer: Observer
) -> Generator[OpenRound, Iterable[Answer], tuple[RoundRecord, Head]]:
    """Round 0, of one exchange or two. Observers see the first one's messages; the account has both."""
    method = method_of(config, 0)
    state = method.init(task, config, np.zeros(task.head_size, np.float32))
    delivery, recorder = Delivery(method, task, config), RoundRecorder(task, 0)
    for exchanged in range(head_round.exchanges(config)):
        watching = Steps(observer) if exchanged else observer
        state = yield from exchange(method, task, config, state, 0, delivery, recorder, watching)
    return close_round(method, task, config, state, recorder), state.head


def play_round(
    method: Method, task: Task, config: RunConfig, state: State, round: int, delivery: Delivery, observer: Observer
) -> Generator[OpenRound, Iterable[Answer], tuple[RoundRecord, State]]:
    """One round: broadcast, the clients' answers, aggregation, evaluation."""
    recorder = RoundRecorder(task, round, late=round > config.rounds - LAST)
    state = yield from exchange(method, task, config, state, round, delivery, recorder, observer)
    return close_round(method, task, config, state, recorder), state


def exchange(
    method: Method, task: Task, config: RunConfig, state: State, round: int, delivery: Delivery,
    recorder: RoundRecorder, observer: Observer,
) -> Generator[OpenRound, Iterable[Answer], State]:  # fmt: skip
    """To the clients and back: broadcast, their answers, aggregation."""
    sampled = sampled_clients(config, round)
    with recorder.clock("broadcast"):
        message = delivery.open(state, round)
        recorder.broadcast_bytes += len(message)
        observer.broadcast(round, message)
    answers = yield OpenRound(method, round, sampled, message, delivery)

    def payloads() -> Iterator[tuple[int, bytes]]:
        waiting = iter(answers)
        for order in range(len(sampled)):
            observer.progress(f"round {round}, clients", order, len(sampled))
            with recorder.clock("clients"):
                client, delivered, upload = next(waiting)
            recorder.delivered(client, delivered)
            if isinstance(upload, str):
                recorder.lost(client, upload)
            else:
                recorder.sent(client, upload)
                observer.payload(round, client, order, upload.suffix, upload.payload)
                observer.report(round, client, order, upload.report)
                yield client, upload.payload

    with recorder.clock("server"):
        try:
            after = method.server_update(config, state, round, payloads(), recorder.received)
            fault = commit.refusal(method, task, config, state, after, round)
        except commit.UNSOLVABLE as error:  # what the clients sent, each of it allowed, has no sum or no solution
            after, fault = state, str(error)
        if fault is not None:
            recorder.refused(fault)
            # The state after a round that nobody answered, not the one before: a broadcast that says what the last
            # round changed would say it twice.
            after = method.server_update(config, state, round, (), lambda receipt: None)
    observer.progress(f"round {round}, clients", len(sampled), len(sampled))
    return after


def close_round(method: Method, task: Task, config: RunConfig, state: State, recorder: RoundRecorder) -> RoundRecord:
    """Evaluate, and make the record."""
    with recorder.clock("evaluate"):
        evaluations: dict[str, training.Evaluation] = {}
        for name, weights in method.effective(task, config, state, recorder.round):
            first = not evaluations
            evaluations[name] = training.evaluate(task, weights, state.head, adapted=first, own=first)
    return recorder.close(evaluations, getattr(state, "theta", None), getattr(state, "temperature", None))
