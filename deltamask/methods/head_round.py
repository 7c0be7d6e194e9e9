"""Round 0, which makes the head: by linear probing, or by a formula from statistics that every client sends once.

A formula's round is a method of its own, of one or two exchanges. In the first the server asks, and clients send their
statistics. Where the head's temperature is to be chosen, the second sends them the head, and they answer with its loss
at each of a few temperatures (`heads/temperature.py`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from deltamask.base.stopwatch import Stopwatch
from deltamask.codecs.wire import dense, png
from deltamask.codecs.wire.dense import SERVER, Head
from deltamask.codecs.wire.message import register_kind, seal, unseal
from deltamask.config import RunConfig
from deltamask.heads import ClosedForm, HeadSettings, Linear, Sender, Statistics, agreed, closed_form, temperature
from deltamask.methods import robust
from deltamask.methods.base import ClientReport, Method, Receipt, Upload, decoded, methods, pretrained
from deltamask.methods.participation import refits_head
from deltamask.methods.refit import with_refit

if TYPE_CHECKING:
    from deltamask.task.task import Task

ASK = "head-ask"  # the message that opens the first exchange: a header and nothing else
register_kind(ASK, 109, about="nothing: the server asks for statistics")


@dataclass(frozen=True)
class HeadRoundState:
    """head: the classifier, zeros before it is solved. temperature: (1,) the factor in it, NaN before that.

    registered: (clients, classes) the samples that each client says it holds.
    """

    head: Head
    temperature: np.ndarray
    registered: np.ndarray

    @property
    def solved(self) -> bool:
        return bool(np.isfinite(self.temperature[0]))


def method_of(config: RunConfig, round: int, registered: np.ndarray | None = None) -> Method:
    """Who plays a round of a run: round 0 is the head's. registered: of a server, as in `with_refit`."""
    if round:
        method = methods[config.method]
        return with_refit(method, registered) if refits_head(config, config.rounds) else method
    formula = closed_form(config.head_init)
    return methods["linear-probe"] if formula is None else _method(formula)


def exchanges(config: RunConfig) -> int:
    """How often round 0 goes to the clients and back."""
    return 1 if closed_form(config.head_init) is None or config.head_temperature else 2


def scaled(state: HeadRoundState, factor: float) -> HeadRoundState:
    """The same head at another temperature."""
    return replace(state, head=(state.head * factor).astype(np.float32), temperature=state.temperature * factor)


def init(task: Task, config: RunConfig, head: Head) -> HeadRoundState:
    """Nothing is known but what clients hold."""
    return HeadRoundState(head, np.full(1, np.nan), task.label_counts)


def broadcast(config: RunConfig, state: HeadRoundState, round: int) -> bytes:
    """A question; once there is a head, the head."""
    if state.solved:
        return dense.encode_dense32(state.head, round, SERVER)
    return seal(ASK, round, SERVER, len(state.head), b"")


def receive(task: Task, config: RunConfig, round: int, message: bytes, memory: object) -> Head | None:
    """The head, or None where the server asks for statistics. Raises DecodeError."""
    if message.startswith(png.SIGNATURE):
        return dense.decode_dense32(message, task.head_size, round, SERVER)
    unseal(message, ASK, round, SERVER, task.head_size)
    return None


def client_update(
    formula: ClosedForm, task: Task, config: RunConfig, round: int, client: int, head: Head | None
) -> Upload:
    """Statistics of the client's features; once there is a head, its losses on them."""
    clock = Stopwatch()
    settings = agreed(config, len(task.classes), task.num_features)
    sender = Sender(client, task.label_counts[client])
    with clock("train"):
        x, y = task.pooled_train[task.shards[client]].numpy(), task.train_y[task.shards[client]].numpy()
        found = formula.summarise(x, y, sender, settings) if head is None else _losses(head, x, y, settings)
    with clock("encode"):
        payload = (
            formula.encode(found, sender, settings)
            if isinstance(found, Statistics)
            else temperature.encode(found, sender)
        )
    return Upload(payload, ".bin", ClientReport(None, seconds=clock.seconds))


def _losses(head: Head, x: np.ndarray, y: np.ndarray, settings: HeadSettings) -> np.ndarray:
    cut = settings.classes * settings.features
    linear = Linear(head[:cut].reshape(settings.classes, -1).astype(np.float64), head[cut:].astype(np.float64))
    return temperature.losses(linear, x, y, settings)


def server_update(
    formula: ClosedForm,
    config: RunConfig,
    state: HeadRoundState,
    round: int,
    payloads: Iterable[tuple[int, bytes]],
    on_receipt: Callable[[Receipt], None],
) -> HeadRoundState:
    """Solve for the head; once there is one, choose its temperature. No payload decodes: nothing changes."""
    classes = state.registered.shape[1]
    settings = agreed(config, classes, len(state.head) // classes - 1)

    def sender(client: int) -> Sender:
        return Sender(client, state.registered[client])

    if state.solved:
        losses = decoded(payloads, lambda client, payload: temperature.decode(payload, sender(client)), on_receipt)
        if config.robust != "none":
            means = [sums / max(1, sender(client).registered.sum()) for client, sums in losses]
            return scaled(state, temperature.best(np.median(means, axis=0))) if means else state
        total = sum((sums for _, sums in losses), np.zeros(len(temperature.GRID), np.int64))
        return scaled(state, temperature.best(total)) if total.any() else state

    def read(client: int, payload: bytes) -> Statistics:
        return formula.decode(payload, sender(client), settings)

    payloads, decode = robust.screened(config, payloads, read, lambda found: found, classes)
    parts = decoded(payloads, decode, on_receipt)
    total_statistics = formula.total((part for _, part in parts), settings)
    if not total_statistics.counts.any():
        return state
    head = formula.solve(total_statistics, settings).flat()
    return scaled(replace(state, head=head, temperature=np.ones(1)), config.head_temperature or 1.0)


@functools.cache
def _method(formula: ClosedForm) -> Method:
    return Method(
        formula.label,
        formula.about,
        "head",
        HeadRoundState,
        init,
        broadcast,
        receive,
        partial(client_update, formula),
        partial(server_update, formula),
        pretrained,
    )
