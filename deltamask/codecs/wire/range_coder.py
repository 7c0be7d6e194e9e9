"""Range coding by `constriction`, as 32-bit little-endian words. What `mask`, `gap` and `qsgd` share.

Encoder, Decoder and Tally are one interface for bits, so that a codec's loop is written once and runs both ways. The
first two also code symbols of a larger alphabet: p is then the probability of each.
"""

from __future__ import annotations

import math
from typing import Protocol

import constriction
import numpy as np
import numpy.typing as npt

from deltamask.codecs.wire.message import DecodeError

# What the Wire page says of a body that is range-coded throughout.
RANGE_CODED = "range-coded words"
ABOUT_RANGE_CODED = "range coding makes one long number of all positions: no byte belongs to a single one"

Bits = npt.NDArray[np.int32]
Probabilities = npt.NDArray[np.float64]


class Coder(Protocol):
    """Codes bits that are 1 with probability p, 0 < p < 1.

    p must come from the same integers on both sides: constriction turns it into a 24-bit fixed-point number.
    """

    def code(self, bits: Bits, p: float) -> Bits:
        """`bits` as they are known after the call: a decoder takes only their number and returns what it reads."""
        ...


def _model(p: float | Probabilities) -> constriction.stream.model.Model:
    if isinstance(p, float):
        return constriction.stream.model.Bernoulli(p, perfect=False)
    return constriction.stream.model.Categorical(p, perfect=False)


class Encoder:
    """Collects words."""

    def __init__(self) -> None:
        self._words = constriction.stream.queue.RangeEncoder()

    def code(self, bits: Bits, p: float | Probabilities) -> Bits:
        self._words.encode(bits, _model(p))
        return bits

    def finish(self) -> bytes:
        """All words."""
        return self._words.get_compressed().astype("<u4").tobytes()


class Decoder:
    """Reads words. Raises DecodeError where no encoder would have written them."""

    def __init__(self, body: bytes | memoryview) -> None:
        if len(body) % 4:
            raise DecodeError(f"range-coded body of {len(body)} bytes is no whole number of 32-bit words")
        self._words = constriction.stream.queue.RangeDecoder(np.frombuffer(body, "<u4").astype(np.uint32))

    def code(self, bits: Bits, p: float | Probabilities) -> Bits:
        try:
            return self._words.decode(_model(p), len(bits))
        except AssertionError as error:  # what constriction raises for words that its encoder cannot have written
            raise DecodeError(f"range-coded body is not valid: {error}") from None

    def finish(self) -> None:
        """Check that nothing is left."""
        if not self._words.maybe_exhausted():
            raise DecodeError("range-coded body has bytes left over")


class Tally:
    """Sums what an ideal coder would spend, in `spent` bits: the entropy of the model."""

    def __init__(self) -> None:
        self.spent = 0.0

    def code(self, bits: Bits, p: float) -> Bits:
        ones = int(bits.sum())
        self.spent -= ones * math.log2(p) + (len(bits) - ones) * math.log2(1 - p)
        return bits
