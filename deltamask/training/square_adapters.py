"""Fed-SB's adapters (arXiv 2502.15436): W + B·R·A, with B and A frozen and only R, (r, r), trained.

All R are one flat vector, layer by layer; so are all B and A. The layers are LoRA's (`adapters.adapted`). A matrix with
a side shorter than the rank has that side's length as its own rank.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from deltamask.backbones.split import Layer, Tail
from deltamask.codecs.wire.dense import Head, Vector
from deltamask.config import RunConfig
from deltamask.masking import noise
from deltamask.task.task import Task
from deltamask.training.adapters import adapted
from deltamask.training.head import batches, split_head
from deltamask.training.losses import local_loss
from deltamask.training.weights import checked_finite, train_with_head

Frame = tuple[Layer, Tensor, Tensor]  # a layer, its B (outputs, r) and its A (r, inputs)


def shapes(tail: Tail) -> np.ndarray:
    """(layers, 2): outputs and inputs of each adapted matrix."""
    return np.array([layer.shape[:2] for layer in adapted(tail)], np.int64).reshape(-1, 2)


def split(flat: Tensor, ranks: list[int]) -> list[Tensor]:
    """Views of the flat vector of all R: (r, r) for each layer."""
    parts = flat.split([rank * rank for rank in ranks])
    return [part.view(rank, rank) for part, rank in zip(parts, ranks, strict=True)]


def frames(tail: Tail, bases: Vector, ranks: list[int]) -> list[Frame]:
    """B and A of each layer, from the flat vector of all of them: for each layer B, then A."""
    flat, found, start = tail.tensor(bases), [], 0
    for layer, rank in zip(adapted(tail), ranks, strict=True):
        outputs, inputs = layer.shape[:2]
        middle, stop = start + rank * outputs, start + rank * (outputs + inputs)
        found.append((layer, flat[start:middle].view(outputs, rank), flat[middle:stop].view(rank, inputs)))
        start = stop
    return found


@torch.no_grad()
def effective(tail: Tail, r: list[Tensor], between: list[Frame]) -> Tensor:
    """w + B·R·A, (d,)."""
    weights = tail.weights.clone()
    for (layer, b, a), inner in zip(between, r, strict=True):
        weights[layer.start : layer.stop].view(len(b), a.shape[1]).addmm_(b @ inner, a)
    return weights


@torch.no_grad()
def chain_gradients(tail: Tail, gradients: list[Tensor], between: list[Frame]) -> None:
    """∂L/∂R = Bᵀ·G·Aᵀ, from the tail's gradient G."""
    for (layer, b, a), gradient in zip(between, gradients, strict=True):
        g = tail.grad[layer.start : layer.stop].view(len(b), a.shape[1])
        torch.mm(b.T @ g, a.T, out=gradient)


def matrices(tail: Tail, flat: Tensor) -> Vector:
    """The adapted layers' part of a flat vector (d,), layer by layer."""
    return torch.cat([flat[layer.start : layer.stop] for layer in adapted(tail)]).cpu().numpy()


def first_gradient(task: Task, head: Head, config: RunConfig, *, round: int, client: int) -> tuple[Vector, float]:
    """The gradient of a client's mean loss by the adapted matrices, at the pretrained weights. Returns (it, the loss).

    Raises FloatingPointError if it is not finite.
    """
    tail, shard = task.tail, task.shards[client]
    weight, bias = (part.to(task.device) for part in split_head(head, task))
    measure, total = local_loss(task, config, client), 0.0
    tail.effective.copy_(tail.weights)
    tail.grad.zero_()
    rng = noise.generator(config.seed, "batches", round=round, client=client)
    for index in batches(shard, config.batch_size, 1, rng):
        logits = functional.linear(tail.learning(task.train_x[index].to(task.device)), weight, bias)
        loss = measure(logits, task.train_y[index].to(task.device)) * (len(index) / len(shard))
        loss.backward()
        total += float(loss.detach())
    return checked_finite(matrices(tail, tail.grad)), total


def train_between(
    task: Task, head: Head, r: Vector, bases: Vector, ranks: list[int], config: RunConfig, *, round: int, client: int
) -> tuple[Vector, float]:
    """E epochs of Adam on R under a fixed head. Returns (R, last epoch's loss)."""
    flat = torch.from_numpy(r.copy()).to(task.device).requires_grad_(True)
    flat.grad = torch.empty_like(flat)
    inner, gradients = split(flat.detach(), ranks), split(flat.grad, ranks)
    between = frames(task.tail, bases, ranks)

    def forward() -> None:
        task.tail.grad.zero_()
        task.tail.effective.copy_(effective(task.tail, inner, between))

    def gather() -> None:
        chain_gradients(task.tail, gradients, between)

    loss, _ = train_with_head(
        task, head, flat, forward, gather, None, config, round=round, client=client, learn_head=False
    )
    return checked_finite(flat.detach().cpu().numpy()), loss
