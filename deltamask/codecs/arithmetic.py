"""`mask`: adaptive arithmetic coding of a whole mask, H(mean of m) bits per parameter (FedPM's uplink).

Bits are range-coded by `constriction` in blocks; a block's probability of a one is estimated from the bits before it,
so no table travels and the decoder follows along. Probabilities are ratios of integers: identical on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import constriction
import numpy as np

from deltamask.codecs.base import CodecContext, DecodeError, codecs, seal, unseal
from deltamask.masks import Mask, Positions, apply_flips, sample

FIRST_BLOCK, LARGEST_BLOCK = 64, 1 << 14


def _blocks(d: int) -> Iterator[tuple[int, int]]:
    """[start, stop) of each block: small at first, while the estimate is poor, then doubling."""
    start, size = 0, FIRST_BLOCK
    while start < d:
        yield start, min(d, start + size)
        start, size = start + size, min(2 * size, LARGEST_BLOCK)


def _bernoulli(ones: int, seen: int) -> constriction.stream.model.Bernoulli:
    return constriction.stream.model.Bernoulli((2 * ones + 1) / (2 * seen + 2), perfect=False)  # Krichevsky–Trofimov


def encode_mask(mask: Mask) -> bytes:
    """Mask of shape (d,) to compressed words."""
    encoder = constriction.stream.queue.RangeEncoder()
    symbols = mask.astype(np.int32)
    ones = 0
    for start, stop in _blocks(len(mask)):
        encoder.encode(symbols[start:stop], _bernoulli(ones, start))
        ones += int(symbols[start:stop].sum())
    return encoder.get_compressed().astype("<u4").tobytes()


def decode_mask(body: bytes | memoryview, d: int) -> Mask:
    """The mask of shape (d,). DecodeError if `body` is not what `encode_mask` makes of it."""
    if len(body) % 4:
        raise DecodeError(f"coded mask of {len(body)} bytes is no whole number of 32-bit words")
    decoder = constriction.stream.queue.RangeDecoder(np.frombuffer(body, "<u4").astype(np.uint32))
    mask = np.empty(d, np.bool_)
    ones = 0
    for start, stop in _blocks(d):
        block = decoder.decode(_bernoulli(ones, start), stop - start)
        mask[start:stop] = block
        ones += int(block.sum())
    if not decoder.maybe_exhausted():
        raise DecodeError("coded mask has bytes left over")
    return mask


@dataclass(frozen=True)
class MaskCodec:
    """The client's whole mask. Read as flips against the m_g that both sides hold."""

    name: str = "mask"
    exact: bool = True
    suffix: str = ".bin"
    false_positive_rate: float = 0.0

    def encode(self, positions: Positions, context: CodecContext) -> bytes:
        mask = apply_flips(sample(context.theta, context.noise.words(0, context.d)), positions)
        return seal(self.name, context.round, context.client, context.d, encode_mask(mask))

    def decode(self, payload: bytes, context: CodecContext) -> Positions:
        body = unseal(payload, self.name, context.round, context.client, context.d)
        global_mask = sample(context.theta, context.noise.words(0, context.d))
        return np.flatnonzero(decode_mask(body, context.d) != global_mask)


codecs.register("mask")(MaskCodec())
