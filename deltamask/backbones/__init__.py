"""Backbones by name, cut at a block boundary into a frozen trunk and a masked tail. Listing them needs no torch."""

from deltamask.backbones.catalogue import TIMM, build, get, names
from deltamask.backbones.hub import HUB
from deltamask.backbones.spec import BackboneError, BackboneSpec, backbones, given_file

__all__ = ["HUB", "TIMM", "BackboneError", "BackboneSpec", "backbones", "build", "get", "given_file", "names"]
