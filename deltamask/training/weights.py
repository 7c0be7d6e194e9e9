"""Local training of the tail's weights, with the head."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from deltamask.codecs.wire.dense import Head, Vector
from deltamask.config import RunConfig
from deltamask.masking import noise
from deltamask.privacy import plan
from deltamask.task.task import Task
from deltamask.training.head import batches, flat_head, split_head
from deltamask.training.losses import local_loss
from deltamask.training.per_sample import Through
from deltamask.training.private import PrivateSteps
from deltamask.training.schedule import scheduled


def train_weights(task: Task, values: Vector, config: RunConfig, *, round: int, client: int) -> tuple[Vector, float]:
    """FedAvg's local work: E epochs of Adam on the tail's weights and the head. Returns (values, last epoch's loss).

    values: (d + head_size,). Raises FloatingPointError if they are no longer finite.
    """
    task.tail.effective.copy_(torch.from_numpy(values[: task.d].copy()))
    weights = task.tail.effective.detach().requires_grad_(True)  # shares its memory: a step on it is one on the module
    weights.grad = task.tail.grad

    def forward() -> None:
        task.tail.grad.zero_()

    loss, head = train_with_head(
        task,
        values[task.d :],
        weights,
        forward,
        lambda: None,
        torch.ones_like(weights),
        config,
        round=round,
        client=client,
    )
    return checked_finite(np.concatenate([weights.detach().cpu().numpy(), head])), loss


def train_with_head(
    task: Task, head: Head, trained: Tensor, before: Callable[[], None], after: Callable[[], None],
    through: Through | None, config: RunConfig, *, round: int, client: int, learn_head: bool = True,
) -> tuple[float, Head]:  # fmt: skip
    """The loop of all that train weights. trained: (p,) with its gradient's memory. before: make the tail ready; after:
    turn the tail's gradient into that of `trained`; through: the same sample by sample, for noisy steps, None for a
    method that promises none. learn_head: is the head trained along, or left as it is?"""
    weight, bias = (part.to(task.device).requires_grad_(learn_head) for part in split_head(head, task))
    lr = scheduled(config.weight_lr, config.lr_schedule, round, config.rounds)
    optimizer = torch.optim.Adam([trained, *([weight, bias] if learn_head else [])], lr=lr, fused=True)
    if plan.protects_samples(config):
        assert through is not None, f"{config.method} is not private, and `plan.check` lets it through"
        private = PrivateSteps(task, config, purpose="local", epochs=config.local_epochs, round=round, client=client)
        for index in private.batches():
            before()
            own, of_head = private.gradient(index, weight, bias, through, len(trained), head=True)
            trained.grad.copy_(own)  # type: ignore[union-attr]
            weight.grad, bias.grad = of_head[: weight.numel()].view_as(weight), of_head[weight.numel() :]
            optimizer.step()
        return private.loss(), flat_head(weight, bias)
    rng = noise.generator(config.seed, "batches", round=round, client=client)
    measure = local_loss(task, config, client)
    losses: list[Tensor] = []
    for index in batches(task.shards[client], config.batch_size, config.local_epochs, rng):
        before()
        weight.grad = bias.grad = None
        pooled = task.tail.learning(task.train_x[index].to(task.device))
        labels = task.train_y[index].to(task.device)
        loss = measure(functional.linear(pooled, weight, bias), labels)
        loss.backward()
        losses.append(loss.detach())
        after()
        optimizer.step()
    steps = -(-len(task.shards[client]) // config.batch_size)
    return float(torch.stack(losses[-steps:]).mean()), flat_head(weight, bias)


def checked_finite(values: Vector) -> Vector:
    if not np.isfinite(values).all():
        raise FloatingPointError("weights are no longer finite: lower weight_lr")
    return values
