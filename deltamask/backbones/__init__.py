"""Backbones by name, cut at a block boundary into a frozen trunk and a masked tail. Listing them needs no torch."""

from deltamask.backbones.catalogue import (
    HUB,
    HUB_FILE,
    TIMM,
    BackboneError,
    BackboneSpec,
    backbones,
    build,
    get,
    hub_address,
    hub_file,
    names,
    packaged,
)

__all__ = [
    "HUB", "HUB_FILE", "TIMM", "BackboneError", "BackboneSpec", "backbones", "build", "get", "hub_address", "hub_file",
    "names", "packaged",
]  # fmt: skip
