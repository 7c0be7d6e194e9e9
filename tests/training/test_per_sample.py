"""Gradients sample by sample are those of single samples, for every kind of layer; none goes beyond its limit."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from deltamask import backbones
from deltamask.backbones import BackboneError
from deltamask.backbones.split import Tail, freeze
from deltamask.training import adapters
from deltamask.training.per_sample import Through, clipped, clipped_head, layer_gradients, summed_gradient
from tests.support import tiny

LAYERS: list[tuple[nn.Module, tuple[int, ...]]] = [
    (nn.Linear(6, 5), (3, 6)),
    (nn.Linear(6, 5, bias=False), (3, 7, 6)),  # tokens
    (nn.Linear(6, 5), (3, 2, 4, 6)),
    (nn.Conv2d(4, 6, 3, padding=1), (3, 4, 7, 5)),
    (nn.Conv2d(4, 6, 1), (3, 4, 5, 5)),
    (nn.Conv2d(4, 6, (3, 2), stride=2, padding=(0, 1), dilation=(2, 1)), (3, 4, 9, 8)),
    (nn.Conv2d(4, 6, 3, padding="same", groups=2), (3, 4, 6, 6)),
    (nn.Conv2d(4, 4, 5, padding=2, groups=4), (3, 4, 6, 6)),  # depthwise
    (nn.Conv2d(4, 8, 4, stride=4), (3, 4, 8, 8)),  # patches
    (timm.layers.Conv2dSame(4, 6, 3, stride=2), (3, 4, 7, 7)),
]
TAILS = [
    ("tiny", 1, 32),
    ("efficientnet_lite0", 2, 64),
    ("minilm-l6", 1, 0),
    ("timm:vit_tiny_patch16_224", 1, 64),
    ("timm:convnext_atto", 2, 64),
    ("timm:resnet18", 1, 64),
    ("timm:tf_efficientnetv2_b0", 1, 64),
    ("timm:convmixer_768_32", 1, 35),
]


def flat(loss: Tensor, parameters: list[Tensor]) -> Tensor:
    return torch.cat([grad.reshape(-1) for grad in torch.autograd.grad(loss, parameters, allow_unused=True)])


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda value: str(value).replace("\n", ""))
def test_a_layers_gradients_are_those_of_single_samples(layer: nn.Module, shape: tuple[int, ...]) -> None:
    rng = torch.Generator().manual_seed(3)
    x = torch.randn(shape, generator=rng)
    out = layer(x)
    g = torch.randn(out.shape, generator=rng)
    each = layer_gradients(layer, x, g, len(x))
    torch.testing.assert_close(summed_gradient(layer, x, g), each.sum(0), rtol=1e-4, atol=1e-5)
    for sample in range(len(x)):
        one = layer(x[sample : sample + 1])
        (expected,) = torch.autograd.grad(one, layer.weight, g[sample : sample + 1])
        torch.testing.assert_close(each[sample], expected, rtol=1e-4, atol=1e-5)


def test_rows_of_one_sample_are_added_up() -> None:
    """Windows and patches put several rows of a sample behind each other."""
    layer, x, g = nn.Linear(6, 5), torch.randn(6, 7, 6), torch.randn(6, 7, 5)
    each = layer_gradients(layer, x, g, 3)
    torch.testing.assert_close(each[1], g[2:4].reshape(-1, 5).T @ x[2:4].reshape(-1, 6))
    conv, x, g = nn.Conv2d(2, 3, 1), torch.randn(6, 2, 4, 4), torch.randn(6, 3, 4, 4)
    by_row = layer_gradients(conv, x, g, 6)
    torch.testing.assert_close(layer_gradients(conv, x, g, 3)[1], by_row[2:4].sum(0))


def network(name: str, masked_blocks: int, size: int) -> tuple[Tail, Tensor]:
    """A tail, and the trunk's features of four samples."""
    known = name == "tiny"
    backbone = tiny.build(masked_blocks) if known else backbones.build(name, masked_blocks, "random", size)
    rng = torch.Generator().manual_seed(1)
    if size:
        images = torch.randn(4, 3, size, size, generator=rng)
    else:
        assert backbone.tokenize is not None
        images = backbone.tokenize(np.array(["a cat", "a dog runs far away", "rain", "no word of it is true"]))
    with torch.no_grad():
        return Tail(backbone.tail), backbone.trunk(images)


@pytest.mark.parametrize("held", [False, True], ids=["layer by layer", "held"])
@pytest.mark.parametrize(("name", "masked_blocks", "size"), TAILS)
def test_a_networks_clipped_sum_is_that_of_single_samples(name: str, masked_blocks: int, size: int, held: bool) -> None:
    """With the head beside it, and with the weights' factor of a mask in between: as factors, and as any other map."""
    tail, features = network(name, masked_blocks, size)
    pooled = tail(features).detach()
    rng = torch.Generator().manual_seed(2)
    weight = torch.randn(3, pooled.shape[1], generator=rng) / pooled.norm(dim=1).mean()
    bias, labels = torch.randn(3, generator=rng), torch.tensor([0, 2, 1, 0])
    factor = tail.weights * torch.rand(tail.d, generator=rng)

    def single(sample: int) -> Tensor:
        tail.grad.zero_()
        head = [weight.clone().requires_grad_(True), bias.clone().requires_grad_(True)]
        loss = functional.cross_entropy(
            functional.linear(tail(features[sample : sample + 1]), *head), labels[sample : sample + 1]
        )
        loss.backward()
        return torch.cat([tail.grad * factor, *(part.grad.reshape(-1) for part in head)])  # type: ignore[union-attr]

    alone = torch.stack([single(sample) for sample in range(4)])
    norms = alone.norm(dim=1)
    limit = float(norms.sort().values[1:3].mean())  # two are cut, two are not
    expected = (alone * (limit / norms).clamp(max=1)[:, None]).sum(0)
    through: Through = (lambda each: each * factor) if held else factor
    found = clipped(tail, features, labels, weight, bias, functional.cross_entropy, limit, through, head=True)
    got = torch.cat([found.trained, found.head])
    assert float((got - expected).norm()) < 1e-4 * limit
    plain = functional.cross_entropy(functional.linear(pooled, weight, bias), labels, reduction="sum")
    assert found.loss == pytest.approx(float(plain), rel=1e-4)
    assert not any(part._forward_hooks for part in tail.module.modules())


def test_adapters_gradients_are_those_of_single_samples() -> None:
    tail, _ = network("tiny", 1, 32)
    each = torch.randn(5, tail.d)
    flat = torch.randn(adapters.size(tail, 3))
    pairs = adapters.split(flat, tail, 3)
    all_at_once = adapters.chain_each(pairs, each)
    for sample in range(5):
        tail.grad.copy_(each[sample])
        expected = torch.empty_like(flat)
        adapters.chain_gradients(tail, pairs, adapters.split(expected, tail, 3))
        torch.testing.assert_close(all_at_once[sample], expected)


def test_the_heads_own_gradients() -> None:
    rng = torch.Generator().manual_seed(4)
    pooled, labels = torch.randn(6, 5, generator=rng), torch.tensor([0, 1, 2, 0, 1, 2])
    weight, bias = torch.randn(3, 5, generator=rng), torch.randn(3, generator=rng)
    expected = torch.zeros(18)
    for x, y in zip(pooled, labels, strict=True):
        head = [weight.clone().requires_grad_(True), bias.clone().requires_grad_(True)]
        own = flat(functional.cross_entropy(functional.linear(x[None], *head), y[None]), head)
        expected += own * min(1.0, 1.5 / float(own.norm()))
    found = clipped_head(pooled, labels, weight, bias, functional.cross_entropy, 1.5)
    torch.testing.assert_close(found.head, expected)


@pytest.mark.parametrize("held", [False, True], ids=["layer by layer", "held"])
@pytest.mark.parametrize("poison", [1e4, float("inf"), float("nan")])
def test_one_sample_moves_the_sum_by_the_limit_at_most(poison: float, held: bool) -> None:
    """However wild it is, and however small the others are."""
    tail, features = network("tiny", 1, 32)
    through: Through = (lambda each: each) if held else torch.ones(tail.d)
    labels = torch.tensor([0, 2, 1, 0])
    weight, bias = torch.randn(3, tiny.FEATURES), torch.zeros(3)
    limit = 0.01

    def summed(x: Tensor, y: Tensor) -> Tensor:
        found = clipped(tail, x, y, weight, bias, functional.cross_entropy, limit, through, head=True)
        return torch.cat([found.trained, found.head])

    wild = features.clone()
    wild[2] = wild[2] * poison
    difference = summed(wild, labels) - summed(features[[0, 1, 3]], labels[[0, 1, 3]])
    assert torch.isfinite(difference).all()
    assert float(difference.norm()) <= limit * (1 + 1e-4)


def test_layers_whose_gradients_are_not_known_are_refused_by_name() -> None:
    class Doubled(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    for part, what in ((Doubled(4, 4), "0 is a Doubled"), (nn.Conv2d(1, 1, 3, padding_mode="circular"), "circular")):
        tail = Tail(freeze(nn.Sequential(part)))
        with pytest.raises(BackboneError, match=what):
            clipped(
                tail, torch.zeros(1, 4), torch.zeros(1, dtype=torch.long), torch.zeros(2, 4), torch.zeros(2),
                functional.cross_entropy, 1.0, lambda each: each, head=False,
            )  # fmt: skip
