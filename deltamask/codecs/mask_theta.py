"""`mask-theta`: a whole mask, range-coded given θ_g, which both sides hold. What FedPM's masks cost if not sent blind.

A client's bit is 1 with a probability near θ_g: it set out from there. Positions are sorted into *cells* by the score
of θ_g, 1/8 nat to a cell. A cell starts at the mean of its θ and learns from the bits coded before; so does each
layer's own share of it. No table travels. Probabilities are ratios of integers: identical on both sides.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deltamask.codecs.base import CodecContext, codecs, learning_chunks
from deltamask.codecs.mask import MaskCodec
from deltamask.codecs.side_information import SCORE_OF_THETA
from deltamask.codecs.wire.message import register_kind
from deltamask.codecs.wire.range_coder import ABOUT_RANGE_CODED, RANGE_CODED, Coder, Decoder, Encoder
from deltamask.masking.masks import Mask

SHIFT = 5  # 2⁵ score units of 1/256 nat: 1/8 nat to a cell
FARTHEST = 48  # the cell of θ_g at the clip, 6 nats
CELLS = 2 * FARTHEST + 1
FIRST_CHUNK = 1 << 8
BITS = 24  # of probabilities as integers
START, POOLED = 32, 64  # bits for which θ_g stands in a new cell, and the cell in a layer's share of it


def _cells() -> npt.NDArray[np.uint8]:
    """The cell of each θ."""
    nearest = (SCORE_OF_THETA.astype(np.int32) + (1 << (SHIFT - 1))) >> SHIFT
    return (nearest.clip(-FARTHEST, FARTHEST) + FARTHEST).astype(np.uint8)


CELL_OF_THETA = _cells()
THETA_OF_CELL = (  # the mean θ of each cell, in units of 2⁻²⁴
    (np.bincount(CELL_OF_THETA, weights=np.arange(1 << 16), minlength=CELLS).astype(np.int64) << (BITS - 16))
    // np.bincount(CELL_OF_THETA, minlength=CELLS)
)


class Model:
    """How often the bits of a cell are 1, in all layers and in each: counts of ones and of bits."""

    def __init__(self, layers: int) -> None:
        self.ones, self.seen = np.zeros((2, CELLS), np.int64)
        self.ones_of, self.seen_of = np.zeros((2, layers, CELLS), np.int64)

    def probabilities(self, layer: int) -> npt.NDArray[np.int64]:
        """(CELLS,) P(bit = 1) in units of 2⁻²⁴, strictly between 0 and 1."""
        everywhere = ((self.ones << BITS) + START * THETA_OF_CELL) // (self.seen + START)
        here = ((self.ones_of[layer] << BITS) + POOLED * everywhere) // (self.seen_of[layer] + POOLED)
        return here.clip(1, (1 << BITS) - 1)

    def update(self, layer: int, ones: npt.NDArray[np.int64], seen: npt.NDArray[np.int64]) -> None:
        """Learn from a chunk. ones, seen: (CELLS,)."""
        self.ones += ones
        self.seen += seen
        self.ones_of[layer] += ones
        self.seen_of[layer] += seen


def run(coder: Coder, context: CodecContext, mask: Mask | None) -> Mask:
    """Code all bits, cell by cell in each chunk. Encoding passes the mask; decoding gets it from the coder."""
    model = Model(len(context.layers) + 1)
    out = np.empty(context.d, np.bool_)
    for layer, start, stop in learning_chunks(context.d, context.layers, FIRST_CHUNK, anew=True):
        cell_of = CELL_OF_THETA[context.theta[start:stop]]
        order = np.argsort(cell_of, kind="stable")  # bytes are sorted by radix
        seen = np.bincount(cell_of, minlength=CELLS)
        ends = np.cumsum(seen)
        bits = np.zeros(stop - start, np.int32) if mask is None else mask[start:stop][order].astype(np.int32)
        ones = np.zeros(CELLS, np.int64)
        p = model.probabilities(layer)
        for cell in np.flatnonzero(seen):
            part = slice(ends[cell] - seen[cell], ends[cell])
            bits[part] = coder.code(bits[part], float(p[cell]) * 2.0**-BITS)
            ones[cell] = bits[part].sum()
        out[start + order] = bits
        model.update(layer, ones, seen)
    return out


def encode_mask(mask: Mask, context: CodecContext) -> bytes:
    """Mask of shape (d,) to compressed words."""
    encoder = Encoder()
    run(encoder, context, mask)
    return encoder.finish()


def decode_mask(body: memoryview, context: CodecContext) -> Mask:
    """The mask of shape (d,). DecodeError if `body` is not what `encode_mask` makes of it."""
    decoder = Decoder(body)
    mask = run(decoder, context, None)
    decoder.finish()
    return mask


register_kind("mask-theta", 5, body=RANGE_CODED, about=ABOUT_RANGE_CODED)
GIVEN_THETA = MaskCodec("mask-theta", encode_mask, decode_mask)
codecs.register("mask-theta")(GIVEN_THETA)
