"""Numbers for people and products of decimal shares."""

from __future__ import annotations

import math

from rich.filesize import decimal


def ceil(x: float) -> int:
    """⌈x⌉ for x ≥ 0, forgiving floating point: 0.07 × 100 is 7.000000000000001 there and still means 7, not 8."""
    return math.ceil(x * (1 - 1e-12))


def byte_size(count: float) -> str:
    """Bytes in words: 41.5 MB."""
    return decimal(round(count))
