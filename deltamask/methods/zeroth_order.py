"""What the zeroth-order methods share: coefficients of public directions travel, and everyone walks by them.

The weights after a round are w − η·Σ_t c_t·z_t. Directions z_t follow from the run's seed, so that T numbers a round,
up and down, say all of it, whatever d is. The head stays as round 0 left it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from deltamask import training
from deltamask.base.stopwatch import Stopwatch
from deltamask.codecs.updates import UpdateContext, updates
from deltamask.codecs.wire import dense
from deltamask.codecs.wire.dense import SERVER, Head, Vector
from deltamask.config import RunConfig
from deltamask.methods.base import ClientReport, Method, Receipt, Refit, Sends, Upload

if TYPE_CHECKING:
    from torch import Tensor

    from deltamask.task.task import Task

READS = ("weight_lr", "lr_schedule", "zo_steps", "zo_radius", "downlink")


@dataclass(frozen=True)
class WalkMemory:
    """What a client holds: weights (d,) and the head."""

    weights: Vector
    head: Head


@dataclass(frozen=True)
class WalkState:
    """weights, head: as WalkMemory, after the next broadcast. coefficients: (steps,) what that one says. changed: (1,)
    the round that they are of. samples: (clients,) that each has registered."""

    weights: Vector
    coefficients: Vector
    changed: np.ndarray
    samples: np.ndarray
    head: Head

    @property
    def held(self) -> WalkMemory:
        return WalkMemory(self.weights, self.head)


@dataclass(frozen=True)
class Code:
    """How the coefficients of a round travel.

    encode(config, values, context), decode(config, payload, context): (steps,) and bytes; decode raises DecodeError.
    of_slopes: what a client sends of its slopes. walks: as `training.zeroth_order.slopes`.
    """

    encode: Callable[[RunConfig, Vector, UpdateContext], bytes]
    decode: Callable[[RunConfig, bytes, UpdateContext], Vector]
    of_slopes: Callable[[Vector], Vector]
    walks: bool
    suffix: str = ".bin"


# (config, samples, payloads, decode, on_receipt) → (steps,) coefficients, None if nothing decodes
Combine = Callable[..., Vector | None]


def init(task: Task, config: RunConfig, head: Head) -> WalkState:
    """The pretrained weights."""
    none = np.zeros(config.zo_steps, np.float32)
    return WalkState(task.tail.weights.cpu().numpy().copy(), none, np.zeros(1, np.int64), task.samples, head)


def snapshot(config: RunConfig, state: WalkState, round: int) -> bytes:
    """The head and all weights. (Round 1 has the head alone: the pretrained weights are everybody's.)"""
    weights = updates["fp32"].encode(state.weights, UpdateContext(config.seed, round, SERVER)) if round > 1 else b""
    return dense.pack(dense.encode_dense32(state.head, round, SERVER), weights)


def broadcast(code: Code, config: RunConfig, state: WalkState, round: int) -> bytes:
    """Round 1 brings the head, every later one the coefficients of the round before; none if it came to nothing."""
    if round == 1 or config.downlink == "fp32":
        return snapshot(config, state, round)
    if int(state.changed[0]) != round - 1:
        return b""
    return code.encode(config, state.coefficients, UpdateContext(config.seed, round, SERVER))


def receive(
    code: Code, task: Task, config: RunConfig, round: int, message: bytes, memory: WalkMemory | None
) -> WalkMemory:
    """What a client makes of it. Raises DecodeError."""
    at = UpdateContext(config.seed, round, SERVER)
    if memory is None or config.downlink == "fp32":
        head, sent = dense.unpack(message, 2)
        weights = updates["fp32"].decode(sent, task.d, at) if round > 1 else task.tail.weights.cpu().numpy().copy()
        return WalkMemory(weights, dense.decode_dense32(head, task.head_size, round, SERVER))
    if not message:
        return memory
    coefficients = code.decode(config, message, at)
    return replace(memory, weights=training.zeroth_order.moved(config, memory.weights, coefficients, round - 1))


def client_update(code: Code, task: Task, config: RunConfig, round: int, client: int, memory: WalkMemory) -> Upload:
    """Look along the round's directions, send what was seen."""
    clock = Stopwatch()
    with clock("train"):
        found, loss = training.zeroth_order.slopes(
            task, memory.head, memory.weights, config, round=round, client=client, walks=code.walks
        )
    with clock("encode"):
        payload = code.encode(config, code.of_slopes(found), UpdateContext(config.seed, round, client))
    return Upload(payload, code.suffix, ClientReport(loss, seconds=clock.seconds))


def server_update(
    code: Code,
    combine: Combine,
    config: RunConfig,
    state: WalkState,
    round: int,
    payloads: Iterable[tuple[int, bytes]],
    on_receipt: Callable[[Receipt], None],
) -> WalkState:
    """Walk by the combined coefficients as clients will read them. No payload: nothing changes."""

    def decode(client: int, payload: bytes) -> Vector:
        return code.decode(config, payload, UpdateContext(config.seed, round, client))

    coefficients = combine(config, state.samples, payloads, decode, on_receipt)
    if coefficients is None:
        return state
    at = UpdateContext(config.seed, round + 1, SERVER)
    heard = code.decode(config, code.encode(config, coefficients, at), at)
    weights = training.zeroth_order.moved(config, state.weights, heard, round)
    return replace(state, weights=weights, coefficients=coefficients, changed=np.array([round]))


def weights(task: Task, config: RunConfig, held: WalkMemory) -> Tensor:
    """The weights as they are."""
    return task.tail.tensor(held.weights)


def effective(task: Task, config: RunConfig, state: WalkState, round: int) -> Iterator[tuple[str, Tensor]]:
    """The weights as they are."""
    yield "mean", weights(task, config, state.held)


def alone(code: Code, task: Task, config: RunConfig, state: WalkState, round: int, client: int) -> WalkState:
    """The client's own weights, after a walk by its own slopes."""
    found, _ = training.zeroth_order.slopes(
        task, state.head, state.weights, config, round=round, client=client, walks=code.walks
    )
    return replace(state, weights=training.zeroth_order.moved(config, state.weights, code.of_slopes(found), round))


def method(label: str, about: str, sends: Sends, code: Code, combine: Combine, *, reads: tuple[str, ...] = (),
           **rest: Any) -> Method:  # fmt: skip
    """A method of this kind. reads: beyond READS. rest: further fields of Method."""
    return Method(
        label,
        about,
        sends,
        WalkState,
        init,
        partial(broadcast, code),
        partial(receive, code),
        partial(client_update, code),
        partial(server_update, code, combine),
        effective,
        snapshot=snapshot,
        memory=WalkMemory,
        alone=partial(alone, code),
        refit=Refit(weights),
        reads=READS + reads,
        **rest,
    )
