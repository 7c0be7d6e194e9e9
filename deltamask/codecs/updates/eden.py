"""`eden4`, `eden1`, `eden0.5`: b bits a value after a random rotation (Vargaftik et al., arXiv 2108.08842).

Rotated and normalised, y = √d/‖x‖₂ · R·x, the coordinates are near N(0, 1): the client sends for each the index of the
Lloyd–Max value Q(y) for that distribution, and the scale S = ‖x‖₂² / ⟨R·x, Q(y)⟩, which makes x̂ = S·R⁻¹·Q(y) unbiased.
Its error in high dimension is ‖x‖²·(1/(1 − D) − 1), D being the quantiser's distortion. At one bit this is DRIVE.

Below one bit, each coordinate of x is kept with probability p, by a choice that both sides derive from the seed, and
x/p is sent for those kept at one bit: p bits a value, unbiased, error ‖x‖²·(1/(p·(1 − D)) − 1).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deltamask.codecs.updates.base import UpdateCode, UpdateContext, Vector, of_length, scales
from deltamask.codecs.updates.hadamard import blocks, padded, rotate, unbiased_scales, unrotate
from deltamask.codecs.updates.lloyd_max import centroids, midpoints
from deltamask.masking.noise import key


def quantise(values: Vector, bits: int, context: UpdateContext) -> bytes:
    """A float32 scale for each block, then for each rotated value an index of `bits` bits, a byte's lowest first."""
    y, sigma = rotate(values, context)
    levels = centroids(bits)
    indices = np.searchsorted(midpoints(levels).astype(np.float32), y).astype(np.uint8)
    scale = unbiased_scales(y, levels.astype(np.float32)[indices], sigma, len(values))
    return scale.astype("<f4").tobytes() + _pack(indices, bits).tobytes()


def dequantise(body: memoryview, bits: int, n: int, context: UpdateContext) -> Vector:
    """The n values of `quantise`, finite. Raises DecodeError."""
    head = 4 * len(blocks(n))
    body = of_length(body, head + padded(n) * bits // 8)
    indices = _unpack(np.frombuffer(body[head:], np.uint8), bits)
    return unrotate(centroids(bits).astype(np.float32)[indices], scales(body[:head]), n, context)


def _pack(indices: npt.NDArray[np.uint8], bits: int) -> npt.NDArray[np.uint8]:
    each = 8 // bits  # a byte holds a whole number of indices: bits is 1 or 4 here
    columns = indices.reshape(-1, each)
    packed = np.zeros(len(columns), np.uint8)
    for place in range(each):
        packed |= columns[:, place] << np.uint8(bits * place)
    return packed


def _unpack(packed: npt.NDArray[np.uint8], bits: int) -> npt.NDArray[np.uint8]:
    each = 8 // bits
    indices = np.empty((len(packed), each), np.uint8)
    for place in range(each):
        indices[:, place] = packed >> np.uint8(bits * place) & np.uint8((1 << bits) - 1)
    return indices.reshape(-1)


class EdenCodec(UpdateCode):
    """EDEN at a whole number of bits that divides 8."""

    unbiased = True

    def __init__(self, name: str, bits: int) -> None:
        self.name, self.bits = name, bits

    def body(self, values: Vector, context: UpdateContext) -> bytes:
        return quantise(values, self.bits, context)

    def values(self, body: memoryview, n: int, context: UpdateContext) -> Vector:
        return dequantise(body, self.bits, n, context)


class SparseEdenCodec(UpdateCode):
    """EDEN at one bit on half of the coordinates."""

    name = "eden0.5"
    unbiased = True

    def kept(self, n: int, context: UpdateContext) -> npt.NDArray[np.int64]:
        """The positions that travel: each with probability 1/2, sorted."""
        stream = np.random.Philox(key=key(context.seed, "sparsify", round=context.round, client=context.client))
        words = stream.random_raw(-(-n // 64)).astype("<u8", copy=False)
        return np.flatnonzero(np.unpackbits(words.view(np.uint8), bitorder="little")[:n])

    def body(self, values: Vector, context: UpdateContext) -> bytes:
        chosen = values[self.kept(len(values), context)] * 2  # x/p
        return quantise(chosen, 1, context)

    def values(self, body: memoryview, n: int, context: UpdateContext) -> Vector:
        kept = self.kept(n, context)
        values = np.zeros(n, np.float32)
        values[kept] = dequantise(body, 1, len(kept), context)
        return values


EdenCodec("eden4", 4).register(101)
EdenCodec("eden1", 1).register(102)
SparseEdenCodec().register(103)
