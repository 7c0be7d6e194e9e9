"""A network cut in two: a frozen trunk, and a tail whose weights are masked."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from deltamask.backbones.spec import BackboneError
from deltamask.masking.layers import Layer


@dataclass(frozen=True)
class Backbone:
    """A pretrained network, cut in two. Both modules are in evaluation mode with gradients off.

    trunk: (n, 3, size, size) → features. tail: features → (n, num_features). mean, std: per channel, for pixels in
    [0, 1]. weights_id: what the weights are, for the feature cache. tokenize: of a text backbone, whose trunk reads
    tokens instead: (n,) texts → (n, tokens) int64.
    """

    name: str
    trunk: nn.Module
    tail: nn.Module
    num_features: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    weights_id: str
    tokenize: Callable[[Any], Tensor] | None = None


def cut(blocks: list[nn.Module], masked_blocks: int, name: str) -> tuple[list[nn.Module], list[nn.Module]]:
    """(frozen blocks, masked blocks). BackboneError if the network has no more than `masked_blocks` of them."""
    if masked_blocks >= len(blocks):
        raise BackboneError(
            f"masked_blocks = {masked_blocks}: {name} has {len(blocks)} blocks, and at least one must stay frozen"
        )
    return blocks[:-masked_blocks], blocks[-masked_blocks:]


def freeze(module: nn.Module) -> nn.Module:
    """Evaluation mode (batch norms use their pretrained statistics), no gradients."""
    return module.eval().requires_grad_(False)


CPU = torch.device("cpu")


class Tail:
    """The tail with its maskable weights gathered in one flat vector.

    `weights` (d,) holds the pretrained values and never changes; `effective` (d,) is what the module computes with, its
    parameters being views of it, and `grad` (d,) is where their gradients accumulate. Write m ⊙ weights into
    `effective`, run the module, read `grad`: nothing is allocated or copied layer by layer.

    products: in what matrix products are taken while a client trains (`learning`); all else is float32.
    """

    def __init__(self, module: nn.Module, device: torch.device = CPU, products: torch.dtype = torch.float32) -> None:
        self.products = products
        self.module = copy.deepcopy(module).to(device).to(memory_format=torch.channels_last)
        parameters: list[nn.Parameter] = []
        self.layers: list[Layer] = []
        start = 0
        for name, part in self.module.named_modules():
            if isinstance(part, nn.Linear | nn.Conv2d):
                stop = start + part.weight.numel()
                self.layers.append(Layer(name, start, stop, tuple(part.weight.shape)))
                parameters.append(cast(nn.Parameter, part.weight))
                start = stop
        self.d = start
        self.weights = torch.cat([parameter.detach().reshape(-1) for parameter in parameters])
        self.effective = self.weights.clone()
        self.grad = torch.zeros_like(self.weights)
        for layer, parameter in zip(self.layers, parameters, strict=True):
            parameter.data = self.effective[layer.start : layer.stop].view(layer.shape)
            parameter.grad = self.grad[layer.start : layer.stop].view(layer.shape)
            parameter.requires_grad_(True)

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where each layer starts, then d."""
        return (*(layer.start for layer in self.layers), self.d)

    def times(self, factor: npt.NDArray[np.float32] | npt.NDArray[np.bool_]) -> Tensor:
        """`weights` ⊙ factor (d,): the effective weights under a mask or its probabilities."""
        return self.weights * torch.from_numpy(factor).to(self.weights.device)

    def tensor(self, values: npt.NDArray[np.float32]) -> Tensor:
        """A copy of flat values, where the tail computes."""
        return torch.from_numpy(values.copy()).to(self.weights.device)

    def __call__(self, features: Tensor) -> Tensor:
        """Trunk features (n, …) to pooled vectors (n, num_features), through `effective`."""
        pooled: Tensor = self.module(features.float())  # they may be kept in half precision
        return pooled

    def learning(self, features: Tensor) -> Tensor:
        """The same as a client's local training computes it: products in `products`, weights and sums in float32."""
        if self.products == torch.float32:
            return self(features)
        device = self.weights.device.type
        # On a CPU the fused attention's backward pass takes five times as long in bfloat16 as in float32.
        attention = sdpa_kernel(SDPBackend.MATH) if device == "cpu" else nullcontext()
        with torch.autocast(device, self.products), attention:
            return self(features).float()
