"""Local training of the mask scores s = logit θ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from deltamask.codecs.wire.dense import Head
from deltamask.config import RunConfig
from deltamask.masking import noise
from deltamask.masking.masks import ONE, SCORE_CLIP, Theta, to_fixed, to_float
from deltamask.privacy import plan
from deltamask.task.task import Task
from deltamask.training.head import batches, split_head
from deltamask.training.losses import Loss, local_loss
from deltamask.training.private import PrivateSteps
from deltamask.training.schedule import scheduled


@dataclass(frozen=True)
class Trained:
    """What local training leaves behind. theta: (d,) fixed point. loss: mean over the last epoch's batches."""

    theta: Theta
    loss: float


class ScoreStep:
    """One local step on the scores s = logit θ, in three parts: draw a mask, learn with it, update the scores.

    All buffers are (d,) and live as long as the client's training; the tail computes on views of its own flat vectors,
    so nothing is gathered or scattered layer by layer. bits: private randomness, 16 bits of it a position and step;
    None for masks by threshold, m = [s > 0] (FedMask).
    """

    def __init__(
        self,
        task: Task,
        head: Head,
        theta: Theta,
        lr: float,
        eps: float,
        bits: np.random.BitGenerator | None,
        loss: Loss = functional.cross_entropy,
    ) -> None:
        self.task, self.tail, self.bits, self.loss = task, task.tail, bits, loss
        self.weight, self.bias = (part.to(task.device) for part in split_head(head, task))
        self.scores = torch.from_numpy(to_float(theta)).to(task.device).logit_().requires_grad_(True)
        self.scores.grad = torch.empty_like(self.scores)
        self.optimizer = torch.optim.Adam([self.scores], lr=lr, eps=eps, fused=True)
        self.probability, self.scratch = torch.empty_like(self.scores.grad), torch.empty_like(self.scores.grad)
        self.mask = torch.empty_like(self.scores.grad, dtype=torch.bool)

    @torch.no_grad()
    def draw(self) -> None:
        """m ~ Bernoulli(σ(s)), and m ⊙ w into the tail: 16-bit words, read as integers in [−2¹⁵, 2¹⁵), against θ."""
        torch.sigmoid(self.scores, out=self.probability)
        if self.bits is None:
            torch.gt(self.scores, 0, out=self.mask)
            torch.mul(self.tail.weights, self.mask, out=self.tail.effective)
            return
        words = self.bits.random_raw(-(-self.task.d // 4)).view(np.int16)[: self.task.d]
        self.scratch.copy_(torch.from_numpy(words)).add_(ONE // 2).div_(ONE)
        torch.lt(self.scratch, self.probability, out=self.mask)
        torch.mul(self.tail.weights, self.mask, out=self.tail.effective)

    def learn(self, index: Tensor) -> Tensor:
        """The loss of the masked network on the samples `index`, its gradient left in the tail."""
        self.tail.grad.zero_()
        device = self.task.device
        pooled = self.tail.learning(self.task.train_x[index].to(device))
        logits = functional.linear(pooled, self.weight, self.bias)
        loss = self.loss(logits, self.task.train_y[index].to(device))
        loss.backward()
        return loss.detach()

    @torch.no_grad()
    def update(self) -> None:
        """Straight through the draw: ∂L/∂s = ∂L/∂(m⊙w) · w · θ(1 − θ). Then Adam, and the scores' clip."""
        torch.mul(self.tail.grad, self.tail.weights, out=self.scores.grad)
        torch.addcmul(self.probability, self.probability, self.probability, value=-1, out=self.scratch)
        self.scores.grad.mul_(self.scratch)  # type: ignore[union-attr]
        self._apply()

    def update_privately(self, private: PrivateSteps, index: Tensor) -> None:
        """The same with the scores' gradient clipped sample by sample, and noisy."""
        with torch.no_grad():
            factor = self.tail.weights * (self.probability - self.probability.square())
        size = len(self.scores)
        noisy, _ = private.gradient(index, self.weight, self.bias, factor, size, head=False)
        with torch.no_grad():
            self.scores.grad.copy_(noisy)  # type: ignore[union-attr]
            self._apply()

    def _apply(self) -> None:
        self.optimizer.step()
        self.scores.clamp_(-SCORE_CLIP, SCORE_CLIP)


def train_scores(
    task: Task, head: Head, theta: Theta, config: RunConfig, *, round: int, client: int, threshold: bool = False
) -> Trained:
    """Step 4 of the round: E local epochs on the scores, with a fresh Bernoulli mask each step and a fresh Adam.

    With `dp`, as many noisy steps (`private.py`).

    threshold: m = [θ > ½] instead of a Bernoulli draw.
    Raises FloatingPointError if the scores are no longer finite.
    """
    shard = task.shards[client]
    rng = noise.generator(config.seed, "batches", round=round, client=client)
    private = np.random.SFC64(noise.key(config.seed, "local mask", round=round, client=client))
    lr = scheduled(config.lr, config.lr_schedule, round, config.rounds)
    step = ScoreStep(
        task, head, theta, lr, config.adam_eps, None if threshold else private, local_loss(task, config, client)
    )
    if plan.protects_samples(config):
        loss = _private_epochs(step, config, round, client)
    else:
        losses: list[Tensor] = []
        for index in batches(shard, config.batch_size, config.local_epochs, rng):
            step.draw()
            losses.append(step.learn(index))
            step.update()
        steps = -(-len(shard) // config.batch_size)
        loss = float(torch.stack(losses[-steps:]).mean())
    if not torch.isfinite(step.scores).all():
        raise FloatingPointError("scores are no longer finite: lower lr")
    return Trained(to_fixed(torch.sigmoid(step.scores.detach().cpu().double()).numpy()), loss)


def _private_epochs(step: ScoreStep, config: RunConfig, round: int, client: int) -> float:
    private = PrivateSteps(
        step.task, config, purpose="local", epochs=config.local_epochs, round=round, client=client
    )  # fmt: skip
    for index in private.batches():
        step.draw()
        step.update_privately(private, index)
    return private.loss()
