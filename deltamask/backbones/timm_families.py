"""timm's networks, cut at any block boundary.

Every family that is a sequence of blocks is cut in the same way: `forward_features` of the network without its blocks
is the stem, its blocks follow one another, and `forward_head` of the network without its stem is the end. An adapter
says where a family keeps its blocks and what stands behind them.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import timm
from timm.models.convmixer import ConvMixer
from timm.models.convnext import ConvNeXt
from timm.models.efficientnet import EfficientNet
from timm.models.resnet import ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from deltamask.backbones import weights as sources
from deltamask.backbones.batch_norm import fold_batch_norms
from deltamask.backbones.spec import BackboneError
from deltamask.backbones.split import Backbone, cut, freeze


def _nested(stages: Iterable[Any]) -> list[nn.Module]:
    return [block for stage in stages for block in stage]


def _convnext_blocks(model: Any) -> list[nn.Module]:
    """A stage's downsampling belongs to its first block."""
    return [
        nn.Sequential(stage.downsample, block) if at == 0 else block
        for stage in model.stages
        for at, block in enumerate(stage.blocks)
    ]


@dataclass(frozen=True)
class Family:
    """How one of timm's classes is laid out, by the names of its children.

    holders: those that hold the blocks. after: what `forward_features` runs behind the blocks. head: what
    `forward_head` runs. Whatever is left is the stem.
    """

    of: type[nn.Module]
    blocks: Callable[[Any], list[nn.Module]]
    holders: tuple[str, ...]
    after: tuple[str, ...]
    head: tuple[str, ...]


FAMILIES = (
    Family(  # ViT, DeiT, CLIP, DINOv2
        VisionTransformer,
        lambda model: list(model.blocks),
        ("blocks",),
        ("norm",),
        ("attn_pool", "fc_norm", "head_drop"),
    ),
    Family(ConvMixer, lambda model: list(model.blocks), ("blocks",), (), ("global_pool", "head_drop")),
    Family(ConvNeXt, _convnext_blocks, ("stages",), ("norm_pre",), ("head",)),
    Family(EfficientNet, lambda model: _nested(model.blocks), ("blocks",), ("conv_head", "bn2"), ("global_pool",)),
    Family(
        ResNet,
        lambda model: _nested((model.layer1, model.layer2, model.layer3, model.layer4)),
        ("layer1", "layer2", "layer3", "layer4"),
        (),
        ("global_pool",),
    ),
)


def build(name: str, timm_name: str, masked_blocks: int, weights: str, image_size: int) -> Backbone:
    """A timm network with the weights that RunConfig's `weights` stands for. Raises BackboneError."""
    model = create(timm_name, image_size)
    cfg = model.pretrained_cfg

    def fetch() -> Any:
        if not cfg.get("hf_hub_id"):
            raise BackboneError(f"timm knows no pretrained weights for {timm_name}: pass --weights FILE or random")
        return sources.from_hub(cfg["hf_hub_id"])

    path = sources.locate(weights, fetch)
    if path is not None:
        sources.fit(model, _without_classifier(model, sources.read(path), path), path)
    return split(name, model, masked_blocks, sources.fingerprint(path) if path else sources.RANDOM_ID)


def create(timm_name: str, image_size: int) -> Any:
    """The network without its classifier, with random weights. ViTs get as many positions as the image size needs."""
    fixed = timm.get_pretrained_cfg(timm_name, allow_unregistered=True)
    size: dict[str, Any] = {"img_size": image_size} if fixed is not None and fixed.fixed_input_size else {}
    try:
        with sources.seeded():
            model: Any = timm.create_model(timm_name, num_classes=0, **size)
    except (RuntimeError, TypeError, AssertionError) as error:
        raise BackboneError(f"timm cannot build {timm_name} for images of {image_size} px: {error}") from error
    cfg = model.pretrained_cfg
    if isinstance(model, VisionTransformer):
        patch = model.patch_embed.patch_size[0]
        if image_size % patch:
            below = image_size // patch * patch
            native = cfg["input_size"][-1]
            raise BackboneError(
                f"image_size = {image_size}: {timm_name} cuts images into patches of {patch} px; a multiple of that is "
                f"needed, such as {below or patch}, {below + patch} or its own {native}"
            )
    return model


def _without_classifier(model: Any, tensors: sources.Tensors, path: Any) -> sources.Tensors:
    """The file's tensors under timm's names, positions interpolated to the image size, the classifier left out."""
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    try:
        converted = convert(tensors, model) if convert else tensors
    except (RuntimeError, KeyError, AssertionError, ValueError, IndexError) as error:
        raise BackboneError(f"{path} does not fit this network: {error}") from error
    names = model.pretrained_cfg.get("classifier") or ()
    classifiers = tuple(f"{name}." for name in ((names,) if isinstance(names, str) else names))
    return {name: tensor for name, tensor in converted.items() if not name.startswith(classifiers)}


def split(name: str, model: Any, masked_blocks: int, weights_id: str) -> Backbone:
    """Cut a network of one of the FAMILIES. BackboneError if it is of none, or has too few blocks."""
    family = next((family for family in FAMILIES if isinstance(model, family.of)), None)
    if family is None:
        classes = ", ".join(family.of.__name__ for family in FAMILIES)
        raise BackboneError(
            f"{name} is a {type(model).__name__}, which is not a plain sequence of blocks that can be cut; timm's "
            f"models of the classes {classes} can"
        )
    frozen, masked = cut(family.blocks(model), masked_blocks, name)
    after = [getattr(model, part) for part in family.after]
    trunk = nn.Sequential(_Stem(model, (*family.holders, *family.after, *family.head)), *frozen)
    tail = nn.Sequential(*masked, *after, _Head(model, family.head))
    if isinstance(model, EfficientNet):
        fold_batch_norms(tail)
    cfg = model.pretrained_cfg
    return Backbone(
        name=name,
        trunk=freeze(trunk),
        tail=freeze(tail),
        num_features=model.head_hidden_size,
        mean=cfg["mean"],
        std=cfg["std"],
        interpolation=cfg["interpolation"],
        weights_id=weights_id,
    )


def _thinned(model: Any, drop: Sequence[str]) -> Any:
    """A copy that shares all parts with `model`, but does nothing in its children `drop`."""
    thin = copy.copy(model)
    thin._modules = {name: nn.Sequential() if name in drop else child for name, child in model.named_children()}
    return thin


class _Stem(nn.Module):
    """Images (n, 3, size, size) to what the first block reads."""

    def __init__(self, model: Any, behind: Sequence[str]) -> None:
        super().__init__()
        self.model = _thinned(model, behind)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.model.forward_features(images)
        return features


class _Head(nn.Module):
    """What comes behind the last norm to (n, num_features): pooling, and what a family does about it."""

    def __init__(self, model: Any, head: Sequence[str]) -> None:
        super().__init__()
        self.model = _thinned(model, [name for name, _ in model.named_children() if name not in head])
        self.model._parameters = {}  # class token, positions: the stem's

    def forward(self, features: Tensor) -> Tensor:
        pooled: Tensor = self.model.forward_head(features, pre_logits=True)
        return pooled
