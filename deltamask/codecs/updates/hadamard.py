"""A random rotation in O(n log n), in blocks, that both sides derive from the seed. What `drive` and `eden` share.

A vector is cut into blocks whose lengths are powers of two: the binary digits of n, rounded up to a multiple of
MIN_BLOCK. At most MIN_BLOCK − 1 zeros are added, whatever n is; padding to the next power of two would add up to n.

Each block is rotated by R = H·D₂·H·D₁, with H the orthonormal Hadamard matrix and D₁, D₂ diagonals of random signs.
DRIVE and EDEN are analysed for a uniform rotation and use one pass, H·D, in practice. Two passes bring every coordinate
of *every* vector near a normal distribution (Ben-Basat et al., arXiv 2605.06014). After one, few large values are still
few different ones, and the estimate is biased.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from deltamask.base.kernels import kernel
from deltamask.codecs.updates.base import LARGEST, UpdateContext, Vector
from deltamask.masking.noise import key

MIN_BLOCK = 128
PASSES = 2
IN_CACHE = 1 << 12  # values of a block that are transformed as far as possible before the next ones are touched


def blocks(n: int) -> list[slice]:
    """Where each block of n values lies; the last one ends at n rounded up to a multiple of MIN_BLOCK."""
    total = padded(n)
    found, start = [], 0
    for exponent in reversed(range(total.bit_length())):
        if total >> exponent & 1:
            found.append(slice(start, start + (1 << exponent)))
            start += 1 << exponent
    return found


def padded(n: int) -> int:
    """Length of the rotated vector."""
    return -(-n // MIN_BLOCK) * MIN_BLOCK


def rotate(values: Vector, context: UpdateContext) -> tuple[Vector, npt.NDArray[np.float64]]:
    """(y, σ) with x = σ·R⁻¹·y in each block, and ‖y‖² the block's length: y's coordinates are near N(0, 1).

    y: (padded(n),). σ: (blocks,), 0 for a block of zeros, whose y is 0 too.
    """
    n = len(values)
    y = np.zeros(padded(n), np.float32)
    sigma = np.zeros(len(blocks(n)))
    signs = _signs(n, context)
    for index, block in enumerate(blocks(n)):
        x = values[block].astype(np.float64)
        sigma[index] = math.sqrt(np.square(x).sum() / (block.stop - block.start))
        if sigma[index] == 0:
            continue
        y[block.start : block.start + len(x)] = x / sigma[index]
        for bits in signs:
            _change_signs(y[block], bits[block.start // 8 : block.stop // 8])
            _transform(y[block])
    return y, sigma


def unbiased_scales(y: Vector, q: Vector, sigma: npt.NDArray[np.float64], n: int) -> npt.NDArray[np.float64]:
    """S = ‖x‖² / ⟨R·x, q⟩ of each block, for q ≈ y: with it, S·R⁻¹·q is unbiased (DRIVE, EDEN). 0 for zeros."""
    scale = np.zeros(len(sigma))
    for index, block in enumerate(blocks(n)):
        if sigma[index]:  # ‖x‖² = σ²·d and ⟨R·x, q⟩ = σ·⟨y, q⟩
            product = (y[block] * q[block]).sum(dtype=np.float64)
            scale[index] = sigma[index] * (block.stop - block.start) / product
    return scale


def unrotate(y: Vector, scale: npt.NDArray[np.float64], n: int, context: UpdateContext) -> Vector:
    """scale·R⁻¹·y in each block, without the padding: shape (n,). Overwrites y. Infinite where float32 overflows.

    An estimate of values near LARGEST may be beyond it, which the values are not: it is brought back to LARGEST.
    """
    signs = _signs(n, context)
    for block, factor in zip(blocks(n), scale, strict=True):
        for bits in reversed(signs):
            _transform(y[block])
            _change_signs(y[block], bits[block.start // 8 : block.stop // 8])
        with np.errstate(over="ignore"):
            y[block] = y[block] * factor
        if LARGEST < np.abs(y[block]).max() < np.inf:
            np.clip(y[block], -LARGEST, LARGEST, out=y[block])
    return y[:n]


def _signs(n: int, context: UpdateContext) -> npt.NDArray[np.uint8]:
    """D₁, D₂ as bits, lowest first, 1 for −1: shape (PASSES, padded(n) / 8)."""
    stream = np.random.Philox(key=key(context.seed, "rotation", round=context.round, client=context.client))
    words = stream.random_raw(PASSES * padded(n) // 64)
    return words.astype("<u8", copy=False).view(np.uint8).reshape(PASSES, -1)


@kernel
def _change_signs(x, bits):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        if bits[i >> 3] >> (i & 7) & 1:
            x[i] = -x[i]


@kernel
def _butterflies(x, half, until):  # type: ignore[no-untyped-def]
    """Stages half, 2·half, … up to blocks of `until` values of the unnormalised transform, in place."""
    while half < until:
        for start in range(0, len(x), 2 * half):
            for i in range(start, start + half):
                a, b = x[i], x[i + half]
                x[i], x[i + half] = a + b, a - b
        half *= 2


@kernel
def _transform(x):  # type: ignore[no-untyped-def]
    """x ← H·x. H is symmetric and orthonormal, so it is its own inverse."""
    near = min(len(x), IN_CACHE)
    for start in range(0, len(x), near):
        _butterflies(x[start : start + near], 1, near)
    _butterflies(x, near, len(x))
    factor = np.float32(1 / math.sqrt(len(x)))
    for i in range(len(x)):
        x[i] *= factor
