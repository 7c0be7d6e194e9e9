"""What a backbone's entry says, and the registry. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deltamask.base.paths import expanded
from deltamask.base.progress import Progress
from deltamask.base.registry import Registry

if TYPE_CHECKING:
    from deltamask.backbones.split import Backbone


class BackboneError(RuntimeError):
    """The backbone cannot be built; the message says what to do."""


def given_file(weights: str) -> Path:
    """The file whose path `weights` (RunConfig's field) is. BackboneError if it is not there."""
    path = expanded(weights)
    if not path.is_file():
        raise BackboneError(f"weights = {weights!r}: no such file; a file's path, `pretrained` or `random` is expected")
    return path


@dataclass(frozen=True)
class BackboneSpec:
    """A backbone's entry in the registry.

    build: (masked_blocks, weights, image_size) → Backbone, where `weights` is what RunConfig's field says. where: the
    file that `pretrained` weights are read from, None where it is missing. size_bytes: of that file, or of the package
    that it is taken out of; 0 if not known before it is here. host: from where a run fetches the file, None where it
    has to be there. obtain: fetches it without a run (`deltamask download`); None where only a run does. patch: pixels
    that an image's side has to be a multiple of. offered: False for test-only ones.
    """

    build: Callable[[int, str, int], Backbone]
    where: Callable[[], Path | None]
    license: str
    how_to_get: str
    size_bytes: int
    host: str | None = None
    obtain: Callable[[Progress], None] | None = None
    patch: int = 1
    offered: bool = True

    def lacks(self, weights: str) -> bool:
        """Is the file that `weights` (RunConfig's field) asks for missing?"""
        return weights == "pretrained" and self.where() is None

    def fitting(self, image_size: int, least: int = 1) -> int:
        """The image size nearest to this one that the network can read, and no smaller than `least`."""
        return self.patch * max(-(-least // self.patch), round(image_size / self.patch))


backbones: Registry[BackboneSpec] = Registry("backbone")
