"""What the mask methods share: the server's state, the broadcast of θ_g, and the ways to turn θ_g into a network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from deltamask import aggregation, noise
from deltamask.codecs import dense
from deltamask.config import RunConfig
from deltamask.masks import ONE, Theta, sample, to_fixed, to_float
from deltamask.task import Task
from deltamask.training import Head


@dataclass(frozen=True)
class MaskState:
    """theta: (d,) θ_g in units of 2⁻¹⁶. ones: (d,) decoded mask bits since the last reset of the priors, out of seen.

    layers: where each layer starts in the flat vector, then d. head: the classifier, frozen after round 0.
    """

    theta: Theta
    ones: aggregation.Counts
    seen: np.ndarray
    layers: np.ndarray
    head: Head


def init(task: Task, config: RunConfig, head: Head) -> MaskState:
    """θ_g = θ₀ everywhere, the head as it was probed and from now on frozen."""
    theta = to_fixed(np.full(task.d, config.theta_init))
    return MaskState(theta, np.zeros(task.d, np.int32), np.zeros(1, np.int64), np.array(task.tail.offsets), head)


def broadcast(config: RunConfig, state: MaskState, round: int) -> bytes:
    """θ_g, 16 bits a parameter, and the frozen head, so that a client needs to remember nothing."""
    return dense.pack(dense.encode_theta16(state.theta, round), dense.encode_dense32(state.head, round, dense.SERVER))


def read_broadcast(task: Task, round: int, message: bytes) -> tuple[Theta, Head]:
    """(θ_g, head) as the client receives them. Raises DecodeError."""
    theta, head = dense.unpack(message, 2)
    return dense.decode_theta16(theta, task.d, round), dense.decode_dense32(head, task.head_size, round, dense.SERVER)


def fold_beta(config: RunConfig, state: MaskState, round: int, ones: aggregation.Counts, received: int) -> MaskState:
    """Add a round's mask bits to the posterior, which starts afresh every ⌈1/ρ⌉ rounds."""
    if not aggregation.reset_priors(round, config.rho):
        ones, received = ones + state.ones, received + int(state.seen[0])
    return replace(state, theta=aggregation.beta(ones, received), ones=ones, seen=np.array([received]))


def effective(task: Task, config: RunConfig, state: MaskState, round: int) -> Iterator[tuple[str, Tensor]]:
    """w ⊙ θ_g (mean, the headline: no draw in it, so it has the least variance), w ⊙ [θ_g > ½], and w ⊙ one sample."""
    yield "mean", task.tail.times(to_float(state.theta))
    yield "threshold", task.tail.times(state.theta > ONE // 2)
    u = noise.generator(config.seed, "evaluation", round=round).integers(0, ONE, task.d, np.uint16)
    yield "sampled", task.tail.times(sample(state.theta, u))
