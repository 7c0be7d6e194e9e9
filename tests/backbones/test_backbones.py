"""The embedded EfficientNet-Lite0: the real weights, cut at any block, and the flat vector of its tail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import timm
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor, nn
from torch.func import functional_call

from deltamask import backbones
from deltamask.backbones import BackboneError
from deltamask.backbones.split import Backbone, Tail
from deltamask.task.features import preprocess


@pytest.fixture(scope="module")
def whole() -> nn.Module:
    """timm's own network with the package's weights, put together without our code's cut."""
    path = backbones.get("efficientnet_lite0").where()
    assert path is not None
    model: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    weights = torch.load(path, weights_only=True)
    model.load_state_dict(dict(zip(model.state_dict(), weights.values(), strict=True)))
    return model.eval()


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    """scikit-learn's two photographs, their middle squares: a Chinese temple and a flower."""
    china, flower = load_sample_images().images
    return np.stack([china[:, 106:533], flower[:, 106:533]])  # (2, 427, 427, 3)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return backbones.build("efficientnet_lite0", 1)


@pytest.fixture(scope="module")
def features(backbone: Backbone, photographs: np.ndarray) -> Tensor:
    with torch.no_grad():
        return backbone.trunk(preprocess(photographs, backbone, 64))


def test_one_block_has_the_d_that_the_documents_speak_of(backbone: Backbone) -> None:
    tail = Tail(backbone.tail)
    assert tail.d == 1_009_792
    assert tail.offsets[0] == 0
    assert tail.offsets[-1] == tail.d
    for layer, following in zip(tail.layers, tail.offsets[1:], strict=True):
        assert layer.stop == following
        assert layer.stop - layer.start == int(np.prod(layer.shape))


@pytest.mark.parametrize("masked_blocks", [1, 2, 5])
def test_trunk_tail_and_head_are_the_whole_network(whole: Any, photographs: np.ndarray, masked_blocks: int) -> None:
    cut = backbones.build("efficientnet_lite0", masked_blocks)
    images = preprocess(photographs, cut, 96)
    with torch.no_grad():
        logits = whole.classifier(Tail(cut.tail)(cut.trunk(images)))
        expected = whole(images)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 0.5  # the comparison is of something


def test_the_weights_recognise_photographs(whole: nn.Module, photographs: np.ndarray, backbone: Backbone) -> None:
    with torch.no_grad():
        top = whole(preprocess(photographs, backbone, 224)).topk(5).indices.tolist()
    assert {663, 698, 832, 538, 668} & set(top[0])  # monastery, palace, stupa, dome, mosque
    assert {985, 309, 308, 325, 738, 723, 716, 580} & set(top[1])  # daisy, bee and the like


def test_more_blocks_mean_more_weights_and_too_many_are_refused() -> None:
    assert Tail(backbones.build("efficientnet_lite0", 2).tail).d > 1_009_792
    assert Tail(backbones.build("efficientnet_lite0", 15).tail).d > 3_000_000
    for masked_blocks in (16, 64):
        with pytest.raises(BackboneError, match=f"masked_blocks = {masked_blocks}: efficientnet_lite0 has 16 blocks"):
            backbones.build("efficientnet_lite0", masked_blocks)


def test_unknown_backbones_are_answered_with_the_names_that_exist() -> None:
    with pytest.raises(KeyError, match=r"unknown backbone 'resnet'; there are: .*efficientnet_lite0"):
        backbones.build("resnet", 1)


def test_nothing_but_linear_and_convolution_weights_is_masked(backbone: Backbone) -> None:
    tail = Tail(backbone.tail)
    trained = {name for name, parameter in tail.module.named_parameters() if parameter.requires_grad}
    assert trained == {f"{layer.name}.weight" for layer in tail.layers}
    assert not any(parameter.requires_grad for parameter in backbone.trunk.parameters())
    assert not any(module.training for module in (*backbone.trunk.modules(), *tail.module.modules()))


def test_effective_is_what_the_module_computes_with(backbone: Backbone, features: Tensor) -> None:
    tail = Tail(backbone.tail)
    with torch.no_grad():
        before = tail(features)
        for layer in tail.layers:  # every layer's place in the vector is felt
            tail.effective[layer.start : layer.stop] *= 0.5
            assert not torch.allclose(tail(features), before, atol=1e-3), layer.name
            tail.effective.copy_(tail.weights)
        torch.testing.assert_close(tail(features), before, rtol=0, atol=0)
        torch.testing.assert_close(backbone.tail(features), before, rtol=1e-4, atol=1e-4)


def test_a_tail_leaves_the_backbone_alone(backbone: Backbone, features: Tensor) -> None:
    with torch.no_grad():
        before = backbone.tail(features)
        Tail(backbone.tail).effective.zero_()
        torch.testing.assert_close(backbone.tail(features), before, rtol=0, atol=0)


def masked_parameters(backbone: Backbone, effective: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The original module's parameters with its maskable weights taken, layer by layer, from a flat vector."""
    start = 0
    for name, part in backbone.tail.named_modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            yield f"{name}.weight", effective[start : start + part.weight.numel()].view(part.weight.shape)
            start += part.weight.numel()
    assert start == len(effective)


def test_grad_is_autograd_s_gradient_on_the_original_module(backbone: Backbone, features: Tensor) -> None:
    tail = Tail(backbone.tail)
    mask = torch.rand(tail.d, generator=torch.Generator().manual_seed(1)) < 0.9
    direction = torch.randn(len(features), backbone.num_features, generator=torch.Generator().manual_seed(2))

    effective = (tail.weights * mask).requires_grad_(True)
    output = functional_call(backbone.tail, dict(masked_parameters(backbone, effective)), (features,))
    (expected,) = torch.autograd.grad((output * direction).sum(), effective)

    torch.mul(tail.weights, mask, out=tail.effective)
    for _ in range(2):  # the second time as the first: what was there before is cleared by the caller
        tail.grad.zero_()
        got = tail(features)
        (got * direction).sum().backward()
        torch.testing.assert_close(got, output, rtol=1e-4, atol=1e-5)
        scale = float(expected.abs().max())
        torch.testing.assert_close(tail.grad / scale, expected / scale, rtol=0, atol=1e-5)
    for layer in tail.layers:
        assert tail.grad[layer.start : layer.stop].abs().max() > 0, layer.name


def test_parameters_stay_views_of_the_flat_vectors_while_training(backbone: Backbone, features: Tensor) -> None:
    tail = Tail(backbone.tail)
    for _ in range(2):
        tail(features).sum().backward()
    for layer in tail.layers:
        parameter = tail.module.get_parameter(f"{layer.name}.weight")
        assert parameter.grad is not None
        assert parameter.data_ptr() == tail.effective[layer.start :].data_ptr()
        assert parameter.grad.data_ptr() == tail.grad[layer.start :].data_ptr()
