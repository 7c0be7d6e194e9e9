"""Zeroth-order steps: slopes of the loss along public directions, by two forward passes each and no gradient.

A direction z of round and step is d random signs, that everyone derives from the run's seed: exact on every machine,
and as good as N(0, I) for this, since E[z·zᵀ] = I. The slope is (L(w + μz) − L(w − μz)) / 2μ, of which z·slope has the
gradient as its mean, up to μ² (SPSA; MeZO, arXiv 2305.17333).
"""

from __future__ import annotations

from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from deltamask.base.units import ceil
from deltamask.codecs.wire.dense import Head, Vector
from deltamask.config import RunConfig
from deltamask.masking import noise
from deltamask.task.task import Task
from deltamask.training.head import batches, split_head
from deltamask.training.losses import Loss, local_loss
from deltamask.training.schedule import scheduled
from deltamask.training.weights import checked_finite


def direction(config: RunConfig, round: int, step: int, d: int) -> Vector:
    """(d,) z of a round's step: ±1."""
    stream = np.random.Philox(key=noise.key(config.seed, "direction", round=round, client=step))
    words = stream.random_raw(ceil(d / 64)).astype("<u8", copy=False).view(np.uint8)
    return np.unpackbits(words, count=d).astype(np.float32) * 2 - 1


def moved(config: RunConfig, weights: Vector, coefficients: Vector, round: int) -> Vector:
    """w − η·Σ_t c_t·z_t, (d,), term by term in float32: the same bits for whoever has the same c, (steps,)."""
    lr, weights = np.float32(scheduled(config.weight_lr, config.lr_schedule, round, config.rounds)), weights.copy()
    for step, coefficient in enumerate(coefficients):
        if coefficient:
            weights -= direction(config, round, step, len(weights)) * (lr * coefficient)
    return weights


class Probe:
    """The loss of a network whose head stays as it is, on samples of one client."""

    def __init__(self, task: Task, head: Head, loss: Loss) -> None:
        self.task, self.measure = task, loss
        self.weight, self.bias = (part.to(task.device) for part in split_head(head, task))

    @torch.no_grad()
    def loss(self, index: Tensor) -> float:
        """Under what `task.tail.effective` holds."""
        pooled = self.task.tail.learning(self.task.train_x[index].to(self.task.device))
        logits = functional.linear(pooled, self.weight, self.bias)
        return float(self.measure(logits, self.task.train_y[index].to(self.task.device)))

    def slope(self, weights: Tensor, z: Tensor, radius: float, index: Tensor) -> tuple[float, float]:
        """(the loss's slope along z at weights (d,), the mean of the two losses)."""
        torch.add(weights, z, alpha=radius, out=self.task.tail.effective.data)
        ahead = self.loss(index)
        torch.add(weights, z, alpha=-radius, out=self.task.tail.effective.data)
        behind = self.loss(index)
        return (ahead - behind) / (2 * radius), (ahead + behind) / 2


def slopes(
    task: Task, head: Head, weights: Vector, config: RunConfig, *, round: int, client: int, walks: bool
) -> tuple[Vector, float]:
    """A client's slopes along the round's directions, each on its next batch. Returns ((steps,), mean loss).

    walks: does it take each step before it looks along the next direction, or are all taken at `weights`? Raises
    FloatingPointError if a slope is not finite.
    """
    lr = scheduled(config.weight_lr, config.lr_schedule, round, config.rounds)
    probe, w, shard = (
        Probe(task, head, local_loss(task, config, client)),
        task.tail.tensor(weights),
        task.shards[client],
    )
    epochs = ceil(config.zo_steps / ceil(len(shard) / config.batch_size))
    rng = noise.generator(config.seed, "batches", round=round, client=client)
    found, losses = np.zeros(config.zo_steps, np.float32), []
    for step, index in enumerate(islice(batches(shard, config.batch_size, epochs, rng), config.zo_steps)):
        z = task.tail.tensor(direction(config, round, step, task.d))
        found[step], loss = probe.slope(w, z, config.zo_radius, index)
        losses.append(loss)
        if walks:
            w.sub_(z, alpha=lr * float(found[step]))
    return checked_finite(found), float(np.mean(losses))
