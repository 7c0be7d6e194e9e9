"""LoRA (arXiv 2106.09685): adapters B·A of rank r beside the tail's linear layers and 1×1 convolutions."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from deltamask.backbones.split import Layer, Tail
from deltamask.codecs.wire.dense import Vector
from deltamask.config import RunConfig
from deltamask.masking import noise
from deltamask.task.task import Task
from deltamask.training.weights import checked_finite, train_with_head

Pair = tuple[Layer, Tensor, Tensor]  # a layer, its A (r, inputs) and its B (outputs, r)


def adapted(tail: Tail) -> list[Layer]:
    """The layers that get an adapter: those that are one matrix. (A depthwise convolution is a stack of tiny ones.)"""
    return [
        layer
        for layer in tail.layers
        if len(layer.shape) == 2 or (len(layer.shape) == 4 and layer.shape[2:] == (1, 1) and layer.shape[1] > 1)
    ]


def size(tail: Tail, rank: int) -> int:
    """Parameters of all adapters."""
    return sum(rank * (layer.shape[0] + layer.shape[1]) for layer in adapted(tail))


def split(flat: Tensor, tail: Tail, rank: int) -> list[Pair]:
    """Views of the flat vector of all adapters: for each layer A, then B."""
    pairs: list[Pair] = []
    start = 0
    for layer in adapted(tail):
        outputs, inputs = layer.shape[:2]
        middle, stop = start + rank * inputs, start + rank * (inputs + outputs)
        pairs.append((layer, flat[start:middle].view(rank, inputs), flat[middle:stop].view(outputs, rank)))
        start = stop
    return pairs


def initial(tail: Tail, rank: int, seed: int) -> np.ndarray:
    """A uniform as `torch.nn.Linear` begins, B zero: at first the adapters change nothing."""
    flat = torch.zeros(size(tail, rank))
    rng = noise.generator(seed, "adapters")
    for _, a, _ in split(flat, tail, rank):
        bound = 1 / math.sqrt(a.shape[1])
        a.copy_(torch.from_numpy(rng.uniform(-bound, bound, tuple(a.shape)).astype(np.float32)))
    return flat.numpy()


@torch.no_grad()
def effective(tail: Tail, pairs: list[Pair]) -> Tensor:
    """w + B·A, (d,)."""
    weights = tail.weights.clone()
    for layer, a, b in pairs:
        weights[layer.start : layer.stop].view(b.shape[0], a.shape[1]).addmm_(b, a)
    return weights


@torch.no_grad()
def chain_gradients(tail: Tail, pairs: list[Pair], gradients: list[Pair]) -> None:
    """∂L/∂A = Bᵀ·G and ∂L/∂B = G·Aᵀ, from the tail's gradient G."""
    for (layer, a, b), (_, grad_a, grad_b) in zip(pairs, gradients, strict=True):
        g = tail.grad[layer.start : layer.stop].view(b.shape[0], a.shape[1])
        torch.mm(b.T, g, out=grad_a)
        torch.mm(g, a.T, out=grad_b)


@torch.no_grad()
def chain_each(pairs: list[Pair], each: Tensor) -> Tensor:
    """The same sample by sample. each: (n, d) the tail's gradients; returns (n, size of all adapters)."""
    parts: list[Tensor] = []
    for layer, a, b in pairs:
        g = each[:, layer.start : layer.stop].reshape(-1, b.shape[0], a.shape[1])
        parts += [(b.T @ g).flatten(1), (g @ a.T).flatten(1)]
    return torch.cat(parts, 1)


def train_adapters(task: Task, values: Vector, config: RunConfig, *, round: int, client: int) -> tuple[Vector, float]:
    """FedAvg's local work on LoRA's adapters and the head. values: (adapters' size + head_size,)."""
    size = len(values) - task.head_size
    flat = torch.from_numpy(values[:size].copy()).to(task.device).requires_grad_(True)
    flat.grad = torch.empty_like(flat)
    pairs = split(flat.detach(), task.tail, config.lora_rank)
    gradients = split(flat.grad, task.tail, config.lora_rank)

    def forward() -> None:
        task.tail.grad.zero_()
        task.tail.effective.copy_(effective(task.tail, pairs))

    def gather() -> None:
        chain_gradients(task.tail, pairs, gradients)

    def through(each: Tensor) -> Tensor:
        return chain_each(pairs, each)

    loss, head = train_with_head(
        task, values[size:], flat, forward, gather, through, config, round=round, client=client
    )  # fmt: skip
    return checked_finite(np.concatenate([flat.detach().cpu().numpy(), head])), loss
