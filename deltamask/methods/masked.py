"""What the mask methods share: the server's state, what the clients are sent, and how θ_g becomes a network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from deltamask import downlink, training
from deltamask.codecs.wire.dense import Head
from deltamask.config import RunConfig
from deltamask.downlink import Change, MaskLaw, ThetaMemory
from deltamask.masking import aggregation, noise
from deltamask.masking.masks import ONE, Theta, sample, to_float
from deltamask.methods.base import Method, Receipt, Refit, Sends, Upload

if TYPE_CHECKING:
    from torch import Tensor

    from deltamask.task.task import Task

READS = ("lr", "lr_schedule", "adam_eps", "theta_init", "downlink")  # by every method that trains scores


@dataclass(frozen=True)
class MaskState:
    """theta: (d,) θ_g in units of 2⁻¹⁶. ones: (d,) mask bits since the last reset of the priors, out of `seen` masks.

    layers: where each layer starts in the flat vector, then d. head: the classifier. change, received: what the last
    round's payloads changed, and whose they were; before_*: as it was before that. The next broadcast says just this.
    samples: (clients,) that each has registered; none in states of earlier revisions.
    """

    theta: Theta
    ones: aggregation.Counts
    seen: np.ndarray
    layers: np.ndarray
    head: Head
    change: np.ndarray
    received: np.ndarray
    before_theta: Theta
    before_ones: aggregation.Counts
    before_seen: np.ndarray
    samples: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def now(self) -> ThetaMemory:
        return ThetaMemory(self.theta, self.ones, int(self.seen[0]), self.head)

    @property
    def before(self) -> ThetaMemory:
        return ThetaMemory(self.before_theta, self.before_ones, int(self.before_seen[0]), self.head)


Payloads = Iterable[tuple[int, bytes]]
ClientUpdate = Callable[["Task", RunConfig, int, int, ThetaMemory], Upload]
ServerUpdate = Callable[[RunConfig, MaskState, int, Payloads, Callable[[Receipt], None]], MaskState]


def init(task: Task, config: RunConfig, head: Head) -> MaskState:
    """θ_g = θ₀ everywhere, the head as round 0 left it."""
    start = downlink.first(config, task.d, head)
    none = np.zeros(1, np.int64)
    return MaskState(
        start.theta, start.ones, none, np.array(task.tail.offsets), head,
        change=np.zeros(task.d, np.int32), received=np.zeros(0, np.uint32),
        before_theta=start.theta, before_ones=start.ones, before_seen=none,
        samples=task.samples,
    )  # fmt: skip


def broadcast(law: MaskLaw, config: RunConfig, state: MaskState, round: int) -> bytes:
    """What opens a round (`downlink.broadcast`)."""
    return downlink.broadcast(law, config, state.before, state.now, round, Change(state.change, state.received))


def snapshot(config: RunConfig, state: MaskState, round: int) -> bytes:
    """What a client gets that holds nothing, or too little."""
    return downlink.encode_snapshot(state.now, round)


def receive(
    law: MaskLaw, task: Task, config: RunConfig, round: int, message: bytes, memory: ThetaMemory | None
) -> ThetaMemory:
    """What a client makes of it. Raises DecodeError."""
    return downlink.receive(law, config, task.d, task.head_size, round, message, memory)


def aggregate(law: MaskLaw, config: RunConfig, state: MaskState, round: int, change: Change) -> MaskState:
    """The state after a round whose payloads changed this much."""
    now = downlink.aggregate(law, config, state.now, round, change)
    return replace(
        state, theta=now.theta, ones=now.ones, seen=np.array([now.seen]),
        change=change.values, received=change.received,
        before_theta=state.theta, before_ones=state.ones, before_seen=state.seen,
    )  # fmt: skip


def aggregate_masks(
    law: MaskLaw, config: RunConfig, state: MaskState, round: int, ones: aggregation.Counts, clients: list[int]
) -> MaskState:
    """The state after a round in which `clients` sent whole masks that sum to `ones`."""
    values = ones - downlink.expected(law, config, state.theta, round, clients)
    return aggregate(law, config, state, round, Change(values, np.array(clients, np.uint32)))


def effective(task: Task, config: RunConfig, state: MaskState, round: int) -> Iterator[tuple[str, Tensor]]:
    """w ⊙ θ_g (mean, the headline: no draw in it, so it has the least variance); every `masks_every` rounds also
    w ⊙ [θ_g > ½] and w ⊙ one sample."""
    yield "mean", held(task, config, state.now)
    if round % config.masks_every:  # never by how many rounds there are: a run may be given more
        return
    yield "threshold", task.tail.times(state.theta > ONE // 2)
    u = noise.generator(config.seed, "evaluation", round=round).integers(0, ONE, task.d, np.uint16)
    yield "sampled", task.tail.times(sample(state.theta, u))


def held(task: Task, config: RunConfig, memory: ThetaMemory) -> Tensor:
    """The network that a client holds, as the mean mask has it: w ⊙ θ_g."""
    return task.tail.times(to_float(memory.theta))


def alone(
    task: Task, config: RunConfig, state: MaskState, round: int, client: int, *, threshold: bool = False
) -> MaskState:
    """The client's own θ, trained on. threshold: by thresholded masks."""
    trained = training.train_scores(
        task, state.head, state.theta, config, round=round, client=client, threshold=threshold
    )
    return replace(state, theta=trained.theta)


def method(
    label: str,
    about: str,
    law: MaskLaw,
    client_update: ClientUpdate,
    server_update: ServerUpdate,
    *,
    sends: Sends,
    reads: tuple[str, ...] = (),
    **rest: Any,
) -> Method:
    """A method whose state is a MaskState. reads: beyond READS. rest: further fields of Method."""
    functions: dict[str, Any] = {
        "state": MaskState,
        "init": init,
        "broadcast": partial(broadcast, law),
        "receive": partial(receive, law),
        "client_update": client_update,
        "server_update": server_update,
        "effective": effective,
        "snapshot": snapshot,
        "memory": ThetaMemory,
        "refit": Refit(held),
        "alone": alone,
        "private": ("samples",),
    }
    if "effective" not in rest:
        reads = (*reads, "masks_every")
    return Method(label, about, sends, reads=READS + reads, masks=law, **(functions | rest))
