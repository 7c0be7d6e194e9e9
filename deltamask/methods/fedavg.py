"""FedAvg (arXiv 1602.05629) of a flat vector: what `finetune`, its compressed forms and `lora` share.

Clients train the vector and send how it changed, through an update codec; the server adds the average change, weighted
by samples (`robust` limits how far one client moves it). The downlink is the whole vector, in as many bits a value as
the updates' floats have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from deltamask.base.stopwatch import Stopwatch
from deltamask.codecs.updates import UpdateCodec, UpdateContext, updates
from deltamask.codecs.wire.dense import SERVER, Head, Vector
from deltamask.config import RunConfig
from deltamask.methods import robust
from deltamask.methods.base import ClientReport, Method, Receipt, Refit, Upload

if TYPE_CHECKING:
    from torch import Tensor

    from deltamask.task.task import Task

READS = ("weight_lr", "lr_schedule", "server_lr")
Train = Callable[..., tuple[Vector, float]]  # (task, values, config, *, round, client) → (values, loss)


@dataclass(frozen=True)
class VectorState:
    """values: (n,) what is trained, then the head. samples: (clients,), the average's weights. size: of the head."""

    values: Vector
    samples: np.ndarray
    size: np.ndarray

    @property
    def head(self) -> Head:
        return self.values[-int(self.size[0]) :]


def start(task: Task, trained: Vector, head: Head) -> VectorState:
    """The state before round 1."""
    return VectorState(np.concatenate([trained, head]), task.samples, np.array([len(head)]))


def codec_of(config: RunConfig, fixed: str | None) -> UpdateCodec:
    """The method's own update codec, or the one that the config names."""
    return updates[fixed or config.update_codec]


def floats(codec: UpdateCodec) -> UpdateCodec:
    """How the downlink is written: 16-bit floats where the updates are, else 32-bit ones."""
    return updates["fp16" if codec.name == "fp16" else "fp32"]


def broadcast(fixed: str | None, config: RunConfig, state: VectorState, round: int) -> bytes:
    """The whole vector."""
    return floats(codec_of(config, fixed)).encode(state.values, UpdateContext(config.seed, round, SERVER))


def receive(
    count: Callable[[Task, RunConfig], int],
    fixed: str | None,
    task: Task,
    config: RunConfig,
    round: int,
    message: bytes,
    memory: object,
) -> Vector:
    """The vector: every message is complete. count: how many values there are. Raises DecodeError."""
    context = UpdateContext(config.seed, round, SERVER)
    return floats(codec_of(config, fixed)).decode(message, count(task, config) + task.head_size, context)


def client_update(
    train: Train, fixed: str | None, task: Task, config: RunConfig, round: int, client: int, values: Vector
) -> Upload:
    """Train, send the change."""
    clock = Stopwatch()
    codec = codec_of(config, fixed)
    with clock("train"):
        trained, loss = train(task, values, config, round=round, client=client)
    with clock("encode"):
        payload = codec.encode(trained - values, UpdateContext(config.seed, round, client))
    return Upload(payload, codec.suffix, ClientReport(loss, seconds=clock.seconds))


def server_update(
    fixed: str | None,
    config: RunConfig,
    state: VectorState,
    round: int,
    payloads: Iterable[tuple[int, bytes]],
    on_receipt: Callable[[Receipt], None],
) -> VectorState:
    """values += η · average change. No payload decodes: nothing changes."""
    codec = codec_of(config, fixed)

    def decode(client: int, payload: bytes) -> Vector:
        return codec.decode(payload, len(state.values), UpdateContext(config.seed, round, client))

    total, weight = robust.average(config, state.samples, payloads, decode, on_receipt)
    if not weight:
        return state
    return replace(state, values=(state.values + config.server_lr * total / weight).astype(np.float32))


def effective(
    weights: Callable[[Task, RunConfig, Vector], Tensor], task: Task, config: RunConfig, state: VectorState, round: int
) -> Iterator[tuple[str, Tensor]]:
    """The weights that the vector stands for."""
    yield "mean", weights(task, config, state.values)


def with_head(state: VectorState, head: Head) -> VectorState:
    """The state with another head."""
    return replace(state, values=np.concatenate([state.values[: -len(head)], head]))


def alone(train: Train, task: Task, config: RunConfig, state: VectorState, round: int, client: int) -> VectorState:
    """The client's own values, trained on."""
    values, _ = train(task, state.values, config, round=round, client=client)
    return replace(state, values=values)


def method(
    label: str,
    about: str,
    init: Callable[[Task, RunConfig, Head], VectorState],
    count: Callable[[Task, RunConfig], int],
    train: Train,
    weights: Callable[[Task, RunConfig, Vector], Tensor],
    *,
    codec: str | None = None,
    reads: tuple[str, ...] = (),
    **rest: Any,
) -> Method:
    """A method of this kind. count: values without the head. weights: the tail's weights (d,) that a vector stands for.
    codec: its update codec, if not the config's. reads: beyond READS. rest: further fields of Method."""
    return Method(
        label,
        about,
        "values",
        VectorState,
        init,
        partial(broadcast, codec),
        partial(receive, count, codec),
        partial(client_update, train, codec),
        partial(server_update, codec),
        partial(effective, weights),
        refit=Refit(weights, with_head),
        alone=partial(alone, train),
        private=("samples",),
        reads=READS + reads + (() if codec else ("update_codec",)),
        **rest,
    )
