"""`mask`: adaptive arithmetic coding of a whole mask, H(mean of m) bits per parameter (FedPM's uplink).

Bits are range-coded by `constriction` in blocks; a block's probability of a one is estimated from the bits before it,
so no table travels and the decoder follows along. Probabilities are ratios of integers: identical on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from deltamask.codecs.base import CHUNK, CodecContext, checked, codecs
from deltamask.codecs.wire.message import register_kind, seal, unseal
from deltamask.codecs.wire.range_coder import ABOUT_RANGE_CODED, RANGE_CODED, Decoder, Encoder
from deltamask.masking.masks import Mask, Positions, sample

FIRST_BLOCK, LARGEST_BLOCK = 64, 1 << 14


def _blocks(d: int) -> Iterator[tuple[int, int]]:
    """[start, stop) of each block: small at first, while the estimate is poor, then doubling."""
    start, size = 0, FIRST_BLOCK
    while start < d:
        yield start, min(d, start + size)
        start, size = start + size, min(2 * size, LARGEST_BLOCK)


def _p(ones: int, seen: int) -> float:
    return (2 * ones + 1) / (2 * seen + 2)  # Krichevsky–Trofimov


def encode_mask(mask: Mask) -> bytes:
    """Mask of shape (d,) to compressed words."""
    encoder = Encoder()
    ones = 0
    for start, stop in _blocks(len(mask)):
        ones += int(encoder.code(mask[start:stop].astype(np.int32), _p(ones, start)).sum())
    return encoder.finish()


def decode_mask(body: bytes | memoryview, d: int) -> Mask:
    """The mask of shape (d,). DecodeError if `body` is not what `encode_mask` makes of it."""
    decoder = Decoder(body)
    mask = np.empty(d, np.bool_)
    ones = 0
    for start, stop in _blocks(d):
        block = decoder.code(np.empty(stop - start, np.int32), _p(ones, start))
        mask[start:stop] = block
        ones += int(block.sum())
    decoder.finish()
    return mask


@dataclass(frozen=True)
class MaskCodec:
    """The client's whole mask. Read as flips against the m_g that both sides hold.

    write, read: (d,) mask and context to a body, and the other way; read raises DecodeError.
    """

    name: str
    write: Callable[[Mask, CodecContext], bytes]
    read: Callable[[memoryview, CodecContext], Mask]
    exact: bool = True
    suffix: str = ".bin"
    false_positive_rate: float = 0.0

    def seal(self, mask: Mask, context: CodecContext) -> bytes:
        """The (d,) mask as a payload."""
        return seal(self.name, context.round, context.client, context.d, self.write(mask, context))

    def unseal(self, payload: bytes, context: CodecContext) -> Mask:
        """The (d,) mask in a payload. Raises DecodeError."""
        return self.read(unseal(payload, self.name, context.round, context.client, context.d), context)

    def encode(self, positions: Positions, context: CodecContext) -> bytes:
        mask = np.empty(context.d, np.bool_)
        for start, stop, chunk in _global_mask(context):
            mask[start:stop] = chunk
        mask[checked(positions, context.d)] ^= True
        return self.seal(mask, context)

    def decode(self, payload: bytes, context: CodecContext) -> Positions:
        mask = self.unseal(payload, context)
        parts = [np.flatnonzero(mask[start:stop] != chunk) + start for start, stop, chunk in _global_mask(context)]
        return np.concatenate(parts)


def _global_mask(context: CodecContext) -> Iterator[tuple[int, int, Mask]]:
    """(start, stop, m_g[start:stop]) chunk by chunk."""
    for start in range(0, context.d, CHUNK):
        stop = min(context.d, start + CHUNK)
        yield start, stop, sample(context.theta[start:stop], context.noise.words(start, stop))


register_kind("mask", 2, body=RANGE_CODED, about=ABOUT_RANGE_CODED)
BLIND = MaskCodec("mask", lambda mask, _: encode_mask(mask), lambda body, context: decode_mask(body, context.d))
codecs.register("mask")(BLIND)
