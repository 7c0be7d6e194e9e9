"""The classifier head as tensors, and linear probing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from deltamask.codecs.wire.dense import Head
from deltamask.config import RunConfig
from deltamask.masking import noise
from deltamask.privacy import plan
from deltamask.task.task import Task
from deltamask.training.losses import local_loss
from deltamask.training.private import PrivateSteps


def split_head(head: Head, task: Task) -> tuple[Tensor, Tensor]:
    """(weight of shape (classes, features), bias of shape (classes,)) as tensors that share no memory with `head`."""
    flat = torch.from_numpy(head.copy())
    cut = len(task.classes) * task.num_features
    return flat[:cut].view(len(task.classes), task.num_features), flat[cut:]


def batches(shard: npt.NDArray[np.int64], batch_size: int, epochs: int, rng: np.random.Generator) -> Iterator[Tensor]:
    """Sample indices batch by batch, shuffled anew each epoch."""
    for _ in range(epochs):
        order = torch.from_numpy(rng.permutation(shard))
        yield from order.split(batch_size)


def train_head(
    task: Task, head: Head, config: RunConfig, *, epochs: int, round: int, client: int
) -> tuple[Head, float]:
    """Local epochs of linear probing: Adam on the head, on the unmasked network's output. Returns (head, last loss).

    With `dp`, as many noisy steps (`private.py`).
    """
    weight, bias = (part.clone().requires_grad_(True) for part in split_head(head, task))
    optimizer = torch.optim.Adam([weight, bias], lr=config.probe_lr, fused=True)
    if plan.protects_samples(config):
        last = _private_epochs(task, weight, bias, optimizer, config, epochs, round, client)
        return flat_head(weight, bias), last
    rng = noise.generator(config.seed, "head batches", round=round, client=client)
    measure, loss = local_loss(task, config, client), torch.zeros(())
    for index in batches(task.shards[client], config.batch_size, epochs, rng):
        optimizer.zero_grad(set_to_none=True)
        logits = functional.linear(task.pooled_train[index], weight, bias)
        loss = measure(logits, task.train_y[index])
        loss.backward()
        optimizer.step()
    return flat_head(weight, bias), float(loss.detach())


def flat_head(weight: Tensor, bias: Tensor) -> Head:
    """Both as a flat head, the reverse of `split_head`."""
    return torch.cat([weight.detach().reshape(-1), bias.detach()]).cpu().numpy()


def _private_epochs(
    task: Task, weight: Tensor, bias: Tensor, optimizer: torch.optim.Optimizer, config: RunConfig,
    epochs: int, round: int, client: int,
) -> float:  # fmt: skip
    private = PrivateSteps(task, config, purpose="head", epochs=epochs, round=round, client=client)
    for index in private.batches():
        noisy = private.head_gradient(index, weight, bias)
        weight.grad, bias.grad = noisy[: weight.numel()].view_as(weight), noisy[weight.numel() :]
        optimizer.step()
    return private.loss()
