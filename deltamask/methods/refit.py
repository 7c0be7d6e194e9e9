"""The head found again while the network below it changes (`head_refit`): every R rounds, and in the last.

In such a round every client answers. It sends statistics of its features under the network that opens the round, by
the same formula as in round 0, and who is sampled to train sends its update beside them. The server solves for the head
after it has aggregated; the next broadcast brings it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from deltamask.base.stopwatch import Stopwatch
from deltamask.codecs.wire import dense
from deltamask.codecs.wire.dense import SERVER, Head
from deltamask.codecs.wire.message import DecodeError
from deltamask.config import RunConfig
from deltamask.heads import ClosedForm, HeadSettings, Sender, Statistics, Total, agreed, closed_form
from deltamask.heads.base import Integers
from deltamask.methods import robust
from deltamask.methods.base import ClientReport, Memory, Method, Receipt, State, Upload, decoded
from deltamask.methods.participation import refits_head
from deltamask.task.turns import trainers

if TYPE_CHECKING:
    from deltamask.task.task import Task


def is_complete(method: Method, config: RunConfig) -> bool:
    """Does every broadcast say all, whatever its receiver holds?"""
    return method.snapshot is None or config.downlink == "fp32"


def brings_head(method: Method, config: RunConfig, round: int) -> bool:
    """Does the round's broadcast carry a new head beside what changed? A complete one has it in any case."""
    return refits_head(config, round - 1) and not is_complete(method, config)


def message_parts(method: Method, config: RunConfig, round: int, message: bytes) -> tuple[bytes, bytes | None]:
    """(what changed, the new head as a message or None) of a round's broadcast. Raises DecodeError."""
    if not brings_head(method, config, round):
        return message, None
    change, head = dense.unpack(message, 2)
    return change, head


def update_in(config: RunConfig, round: int, payload: bytes) -> bytes:
    """The update in a client's payload, without the statistics; empty of a client that did not train.

    Raises DecodeError.
    """
    return dense.unpack(payload, 2)[0] if refits_head(config, round) else payload


def with_refit(method: Method, registered: Integers | None = None) -> Method:
    """The method, with the head found again in the rounds for it.

    registered: (clients, classes) the samples that each client has said it holds; the server needs it.
    """
    return replace(
        method,
        broadcast=partial(broadcast, method),
        receive=partial(receive, method),
        client_update=partial(client_update, method),
        server_update=partial(server_update, method, registered),
    )


def broadcast(method: Method, config: RunConfig, state: State, round: int) -> bytes:
    """The method's own message; after a refit with the head beside it."""
    message = method.broadcast(config, state, round)
    if not brings_head(method, config, round):
        return message
    return dense.pack(message, dense.encode_dense32(state.head, round, SERVER))


def receive(method: Method, task: Task, config: RunConfig, round: int, message: bytes, memory: Memory) -> Memory:
    """What a client makes of it. A client that holds nothing is sent a snapshot, which has the head in it."""
    if memory is None:
        return method.receive(task, config, round, message, None)
    change, head = message_parts(method, config, round, message)
    memory = method.receive(task, config, round, change, memory)
    if head is None:
        return memory
    assert method.refit is not None
    return method.refit.with_head(memory, dense.decode_dense32(head, task.head_size, round, SERVER))


def client_update(method: Method, task: Task, config: RunConfig, round: int, client: int, memory: Memory) -> Upload:
    """The method's own answer; in a round for it packed with statistics, which every client sends."""
    if not refits_head(config, round):
        return method.client_update(task, config, round, client, memory)
    training = client in trainers(config, round)
    update = method.client_update(task, config, round, client, memory) if training else None
    report = ClientReport(None) if update is None else update.report
    clock = Stopwatch()
    formula, settings = _formula(config), agreed(config, len(task.classes), task.num_features)
    sender = Sender(client, task.label_counts[client], round)
    assert method.refit is not None
    with clock("train"):
        shard = task.shards[client]
        x = task.pooled(task.train_x[shard], method.refit.weights(task, config, memory)).numpy()
        found = formula.summarise(x, task.train_y[shard].numpy(), sender, settings)
    with clock("encode"):
        payload = dense.pack(b"" if update is None else update.payload, formula.encode(found, sender, settings))
    seconds = {name: clock.seconds.get(name, 0.0) + report.seconds.get(name, 0.0) for name in ("train", "encode")}
    return Upload(payload, ".bin", replace(report, seconds=seconds))


def server_update(
    method: Method,
    registered: Integers | None,
    config: RunConfig,
    state: State,
    round: int,
    payloads: Iterable[tuple[int, bytes]],
    on_receipt: Callable[[Receipt], None],
) -> State:
    """Aggregate the updates, then solve for the head. No statistics decode: the head stays as it is."""
    if not refits_head(config, round):
        return method.server_update(config, state, round, payloads, on_receipt)
    assert registered is not None
    assert method.refit is not None
    formula, classes = _formula(config), registered.shape[1]
    settings = agreed(config, classes, len(state.head) // classes - 1)
    total = formula.total((), settings)
    training = set(trainers(config, round))

    def read(client: int, payload: bytes) -> tuple[bytes, Statistics]:
        update, statistics = dense.unpack(payload, 2)
        if bool(update) != (client in training):
            raise DecodeError("an update of a client that is not to train" if update else "no update")
        return update, formula.decode(statistics, Sender(client, registered[client], round), settings)

    payloads, parts = robust.screened(config, payloads, read, lambda found: found[1], classes)

    def note(receipt: Receipt) -> None:
        if receipt.dropped is not None or receipt.client not in training:  # of an update the method itself says
            on_receipt(receipt)

    def updates() -> Iterator[tuple[int, bytes]]:
        nonlocal total
        for client, (update, part) in decoded(payloads, parts, note):
            total = total + formula.total((part,), settings)
            if update:
                yield client, update

    after = method.server_update(config, state, round, updates(), on_receipt)
    if not total.counts.any():
        return after
    return method.refit.with_head(after, _solved(formula, settings, total, state.head))


def _formula(config: RunConfig) -> ClosedForm:
    formula = closed_form(config.head_init)
    assert formula is not None
    return formula


def _solved(formula: ClosedForm, settings: HeadSettings, total: Total, before: Head) -> Head:
    """The new head, scaled to the size of the one before: under the temperature that round 0 found."""
    head = formula.solve(total, settings).flat()
    size, old = float(np.linalg.norm(head)), float(np.linalg.norm(before))
    return (head * (old / size)).astype(np.float32) if size and old else head
