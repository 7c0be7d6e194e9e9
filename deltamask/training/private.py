"""Noisy local steps (DP-SGD, Abadi et al. 2016, arXiv 1607.00133): Poisson batches, clipped gradients, Gaussian noise.

What comes out of a step is all that later steps, the draw of masks, κ, codecs and the server ever see of the samples:
whatever they do with it spends nothing more.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from deltamask.config import RunConfig
from deltamask.masking import noise
from deltamask.privacy import plan
from deltamask.privacy.mechanism import Noise, poisson_batches
from deltamask.task.task import Task
from deltamask.training.losses import local_loss
from deltamask.training.per_sample import Clipped, Through, clipped, clipped_head


class PrivateSteps:
    """One client's noisy steps in one round, a batch and a noisy gradient at a time.

    purpose: of the randomness, another for the head than for what follows. epochs: as many steps as they have batches.
    loss: Σ over the last epoch's samples, which only the simulation's record sees.
    """

    def __init__(self, task: Task, config: RunConfig, *, purpose: str, epochs: int, round: int, client: int) -> None:
        shard = task.shards[client]
        self.task, self.config = task, config
        self.measure = local_loss(task, config, client)
        self._rate = plan.rate_of(config, len(shard))
        self._steps = plan.steps_in(config, len(shard), epochs)
        self._last = plan.steps_in(config, len(shard), epochs - 1)
        self._shard = shard
        self._draws = noise.generator(config.seed, f"dp {purpose} batches", round=round, client=client)
        deviation = plan.noise_of(config, client, len(shard)) * config.dp_clip
        self._noise = Noise(deviation, config.seed, f"dp {purpose} noise", round=round, client=client)
        self._loss, self._seen = 0.0, 0

    def batches(self) -> Iterator[Tensor]:
        """Indices of each step's samples; a batch may be empty, and its step is noise."""
        for step, batch in enumerate(poisson_batches(self._shard, self._rate, self._steps, self._draws)):
            if step == self._last:
                self._loss, self._seen = 0.0, 0
            yield torch.from_numpy(batch)

    def gradient(
        self, index: Tensor, weight: Tensor, bias: Tensor, through: Through, size: int, *, head: bool
    ) -> tuple[Tensor, Tensor]:
        """(of what is trained (size,), of the head), noisy, as the mean over a batch of the expected size."""
        device = self.task.device
        if not len(index):
            empty = weight.new_zeros((weight.numel() + bias.numel()) if head else 0)
            return self._released(Clipped(weight.new_zeros(size), empty, 0.0), 0)
        x, y = self.task.train_x[index].to(device), self.task.train_y[index].to(device)
        found = clipped(
            self.task.tail, x, y, weight, bias, self.measure, self.config.dp_clip, through, head=head
        )  # fmt: skip
        return self._released(found, len(index))

    def head_gradient(self, index: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Of the head alone, on the unmasked network's output."""
        pooled, y = self.task.pooled_train[index], self.task.train_y[index]
        if not len(index):
            nothing = Clipped(weight.new_zeros(0), weight.new_zeros(weight.numel() + bias.numel()), 0.0)
            return self._released(nothing, 0)[1]
        return self._released(clipped_head(pooled, y, weight, bias, self.measure, self.config.dp_clip), len(index))[1]

    def _released(self, found: Clipped, count: int) -> tuple[Tensor, Tensor]:
        self._loss, self._seen = self._loss + found.loss, self._seen + count
        cut, size = len(found.trained), len(found.trained) + len(found.head)
        noisy = torch.from_numpy(self._noise.draw(size)).to(found.trained.device)
        noisy[:cut] += found.trained
        noisy[cut:] += found.head
        noisy /= self.config.batch_size  # of the batch that is expected: how many came is not told
        return noisy[:cut], noisy[cut:]

    def loss(self) -> float:
        """Mean over the last epoch's samples; 0 where none was drawn."""
        return self._loss / max(1, self._seen)
