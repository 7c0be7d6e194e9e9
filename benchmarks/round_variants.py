"""The same round done otherwise: a module for each masked layer, no feature cache, another way to call the tail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from deltamask import backbones, datasets, training
from deltamask.backbones.split import Tail
from deltamask.codecs.wire.dense import Head
from deltamask.config import RunConfig
from deltamask.masking import noise
from deltamask.masking.masks import SCORE_CLIP, Theta, to_fixed, to_float
from deltamask.task.features import preprocess
from deltamask.task.task import Task
from deltamask.training import Trained

TRUNK_BATCH = 64  # images that the trunk sees at once where nothing is cached


class Straight(torch.autograd.Function):
    """A Bernoulli draw whose gradient passes straight through."""

    @staticmethod
    def forward(ctx: Any, probability: Tensor) -> Tensor:
        return torch.bernoulli(probability)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


class MaskedConv2d(nn.Module):
    """A frozen convolution, its weights masked by a draw from its scores."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.scores = nn.Parameter(torch.zeros_like(conv.weight))

    def forward(self, x: Tensor) -> Tensor:
        mask = Straight.apply(torch.sigmoid(self.scores))
        conv = self.conv
        return functional.conv2d(
            x, conv.weight * mask, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups
        )


def _plain_tail() -> nn.Module:
    """The default tail with batch norms as they are. Random weights: they take the same time."""
    model: Any = timm.create_model("tf_efficientnet_lite0")
    tail = nn.Sequential(model.blocks[-1], model.conv_head, model.bn2, model.global_pool).eval().requires_grad_(False)
    for parent in list(tail.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d):
                setattr(parent, name, MaskedConv2d(child))
    return tail


@contextmanager
def plain_step() -> Iterator[None]:
    """Within the block, clients train with a masked-layer module for each layer, batch norm unfolded, stock Adam."""
    tail = _plain_tail()
    layers = [module for module in tail.modules() if isinstance(module, MaskedConv2d)]

    def train(
        task: Task, head: Head, theta: Theta, config: RunConfig, *, round: int, client: int, threshold: bool = False
    ) -> Trained:
        assert not threshold
        shard = task.shards[client]
        weight, bias = training.split_head(head, task)
        scores = torch.from_numpy(to_float(theta)).logit()
        with torch.no_grad():
            for layer, part in zip(layers, scores.split([layer.scores.numel() for layer in layers]), strict=True):
                layer.scores.copy_(part.view_as(layer.scores))
        optimizer = torch.optim.Adam([layer.scores for layer in layers], lr=config.lr)
        rng = noise.generator(config.seed, "batches", round=round, client=client)
        loss = torch.zeros(())
        for index in training.batches(shard, config.batch_size, config.local_epochs, rng):
            optimizer.zero_grad()
            features = task.train_x[index].contiguous()
            loss = functional.cross_entropy(functional.linear(tail(features), weight, bias), task.train_y[index])
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for layer in layers:
                    layer.scores.clamp_(-SCORE_CLIP, SCORE_CLIP)
        flat = torch.cat([layer.scores.detach().reshape(-1) for layer in layers])
        return Trained(to_fixed(torch.sigmoid(flat.double()).numpy()), float(loss.detach()))

    original = training.train_scores
    training.train_scores = train
    try:
        yield
    finally:
        training.train_scores = original


@dataclass(frozen=True)
class OnTheFly:
    """Takes the place of cached features: computes those that are asked for, in batches, as the cache was filled."""

    images: np.ndarray
    trunk: Callable[[np.ndarray], Tensor]

    def __getitem__(self, index: Tensor | slice | int) -> Tensor:
        if isinstance(index, int):
            return self.trunk(self.images[index : index + 1])[0]
        return self.trunk(self.images[index.numpy() if isinstance(index, Tensor) else index])

    def __len__(self) -> int:
        return len(self.images)

    def split(self, size: int) -> Iterator[Tensor]:
        """Parts of `size` samples, the last one smaller."""
        return (self[start : start + size] for start in range(0, len(self), size))


def uncached(task: Task, config: RunConfig) -> Task:
    """The task without its feature cache: the trunk runs on every image, every epoch."""
    backbone = backbones.build(config.backbone, config.masked_blocks)
    data = datasets.load(config.dataset)

    def trunk(images: np.ndarray) -> Tensor:
        with torch.no_grad():
            parts = [images[start : start + TRUNK_BATCH] for start in range(0, len(images), TRUNK_BATCH)]
            return torch.cat([backbone.trunk(preprocess(part, backbone, config.image_size)) for part in parts])

    def on_the_fly(images: Any, count: int) -> Any:
        assert isinstance(images, np.ndarray)
        return OnTheFly(images[:count], trunk)

    train, test = on_the_fly(data.train_x, len(task.train_y)), on_the_fly(data.test_x, len(task.test_y))
    return replace(task, train_x=train, test_x=test)


def with_module(task: Task, wrap: Callable[[nn.Module], Callable[[Tensor], Tensor]]) -> Task:
    """The task with another way to call its tail's module."""
    tail = Tail(task.tail.module)
    tail.weights.copy_(task.tail.weights)
    call: Any = wrap(tail.module)
    tail.module = call
    return replace(task, tail=tail)
