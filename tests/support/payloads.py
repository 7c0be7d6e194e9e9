"""Flips and contexts of a small payload, for the tests of its inspection."""

from __future__ import annotations

import numpy as np

from deltamask.codecs import CodecContext
from deltamask.masking.masks import Positions, to_fixed
from deltamask.masking.noise import PublicNoise, generator

D = 60_000


def a_context(d: int = D) -> CodecContext:
    """Round 7 of client 3, with two layers."""
    theta = to_fixed(generator(1, "theta").uniform(0.1, 0.9, d))
    return CodecContext(7, 3, theta, PublicNoise(5, 7, 3), (0, d // 2, d))


def some_positions(count: int = 700, d: int = D) -> Positions:
    """Sorted positions without repeats."""
    return np.sort(generator(2, "positions").choice(d, count, replace=False)).astype(np.int64)
