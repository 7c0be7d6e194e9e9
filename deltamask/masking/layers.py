"""Where the masked layers lie in the flat vector of all masked weights."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Layer:
    """One masked weight tensor: positions [start, stop) of the flat vector. shape: of the tensor."""

    name: str
    start: int
    stop: int
    shape: tuple[int, ...]
