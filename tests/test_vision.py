"""timm's networks: cut at any block they are the whole network, and a file of weights either fits or is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from deltamask import vision
from deltamask.tail import Tail

# (timm's name, image size, masked blocks, the maskable weights of as many blocks by hand)
VIT_TINY = 12 * 192 * 192  # qkv, projection, and an MLP four times as wide
FAMILIES = [
    ("vit_tiny_patch16_224", 64, 2, 2 * VIT_TINY),
    ("vit_xsmall_patch16_clip_224", 64, 5, 5 * 12 * 256 * 256),
    ("deit_tiny_distilled_patch16_224", 48, 1, VIT_TINY),
    ("vit_small_patch14_reg4_dinov2", 28, 1, 12 * 384 * 384),
    ("convmixer_768_32", 35, 3, 3 * 768 * (49 + 768)),
    ("convnext_atto", 64, 3, None),
    ("efficientnet_b0", 64, 2, None),
    ("tf_efficientnetv2_b0", 64, 3, None),
    ("resnet18", 64, 3, (2 * 256 * 256 + 256 * 512 + 3 * 512 * 512) * 9 + 256 * 512),
    ("resnet50", 64, 4, None),
]


def shaken(name: str, size: int) -> Any:
    """A network in which every tensor matters: fresh ones have norms and layer scales that hide a block."""
    model = vision.create(name, size)
    rng = torch.Generator().manual_seed(1)
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.momentum = 1.0  # statistics of what passes below
        for parameter in part.parameters(recurse=False):
            spread = parameter.data.std().nan_to_num(0.1).clamp(min=0.1)
            parameter.data += 0.3 * spread * torch.randn(parameter.shape, generator=rng)
    with torch.no_grad():
        model.train()(torch.randn(8, 3, size, size, generator=rng))
    return model.eval()


@pytest.mark.parametrize(("name", "size", "masked_blocks", "d"), FAMILIES, ids=lambda value: str(value))
def test_trunk_and_tail_are_the_whole_network(name: str, size: int, masked_blocks: int, d: int | None) -> None:
    model = shaken(name, size)
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = model(images)
        backbone = vision.split(name, model, masked_blocks, "shaken")
        tail = Tail(backbone.tail)
        got = tail(backbone.trunk(images))
    assert got.shape == (2, backbone.num_features)
    scale = float(expected.abs().mean())
    torch.testing.assert_close(got / scale, expected / scale, rtol=1e-4, atol=1e-4)
    assert float((expected[0] - expected[1]).abs().mean()) > 1e-3 * scale  # the comparison is of something
    if d is not None:
        assert tail.d == d
    with torch.no_grad():  # every masked layer is felt
        features = backbone.trunk(images)
        for layer in tail.layers:
            tail.effective[layer.start : layer.stop].zero_()
            assert not torch.equal(tail(features), got), layer.name
            tail.effective.copy_(tail.weights)
