"""`qsgd`: stochastic rounding to a few levels, entropy-coded (Alistarh et al., arXiv 1610.02132).

The vector is cut into buckets of 512 values. In a bucket v with norm ‖v‖, each value becomes ‖v‖·sign(v_i)·ℓ/s, where
ℓ is s·|v_i|/‖v‖ rounded up or down at random so that its mean is exactly that (section 3.1). This is unbiased for any
norm that no |v_i| exceeds; ‖v‖ is the bucket's maximum, as in the paper's experiments (section 5), with s = 7: levels
−7 … 7, four bits before entropy coding. The paper writes levels with Elias' code because small ones are frequent; here
a range coder that learns their frequencies as it goes does the same at their entropy.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from deltamask.codecs.updates.base import DecodeError, UpdateCode, UpdateContext, Vector, scales
from deltamask.codecs.wire.range_coder import Decoder, Encoder
from deltamask.masking.noise import generator

BUCKET = 512
S = 7
SYMBOLS = 2 * S + 1
FIRST_RUN = 64

Symbols = npt.NDArray[np.int32]  # level + S, in [0, SYMBOLS)


def _runs(n: int) -> Iterator[slice]:
    """Symbols are coded in runs, each as long as all before it: the estimate is poor only while it costs little."""
    start, stop = 0, FIRST_RUN
    while start < n:
        yield slice(start, min(n, stop))
        start, stop = stop, 2 * stop


def _p(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Krichevsky–Trofimov estimate from the counts so far: a ratio of integers, so the same on both sides."""
    return (2 * counts + 1) / (2 * counts.sum() + SYMBOLS)


def encode_symbols(symbols: Symbols) -> bytes:
    """To 32-bit words. Empty for none."""
    encoder = Encoder()
    counts = np.zeros(SYMBOLS, np.int64)
    for run in _runs(len(symbols)):
        counts += np.bincount(encoder.code(symbols[run], _p(counts)), minlength=SYMBOLS)
    return encoder.finish()


def decode_symbols(body: bytes | memoryview, n: int) -> Symbols:
    """The n symbols. Raises DecodeError if `body` is not what `encode_symbols` makes of them."""
    decoder = Decoder(body)
    symbols = np.empty(n, np.int32)
    counts = np.zeros(SYMBOLS, np.int64)
    for run in _runs(n):
        symbols[run] = decoder.code(symbols[run], _p(counts))
        counts += np.bincount(symbols[run], minlength=SYMBOLS)
    decoder.finish()
    return symbols


def round_levels(values: Vector, context: UpdateContext) -> tuple[Symbols, Vector]:
    """(symbols of shape (n,), norms of shape (buckets,)). The dither is keyed, but the server does not need it."""
    n, count = len(values), -(-len(values) // BUCKET)
    magnitude = np.zeros((count, BUCKET), np.float32)
    magnitude.reshape(-1)[:n] = np.abs(values)
    norms = magnitude.max(axis=1, initial=0)
    np.divide(magnitude, norms[:, None], out=magnitude, where=norms[:, None] > 0)
    exact = S * magnitude.reshape(-1)[:n]  # at most S, also in float32
    rng = generator(context.seed, "dither", round=context.round, client=context.client)
    lower = np.floor(exact)
    level = lower + (rng.random(n, np.float32) < exact - lower)
    return np.copysign(level, values).astype(np.int32) + S, norms


class QsgdCodec(UpdateCode):
    """Body: a float32 norm for each bucket, then the range-coded levels."""

    name = "qsgd"
    unbiased = True

    def body(self, values: Vector, context: UpdateContext) -> bytes:
        symbols, norms = round_levels(values, context)
        return norms.astype("<f4").tobytes() + encode_symbols(symbols)

    def values(self, body: memoryview, n: int, context: UpdateContext) -> Vector:
        head = 4 * -(-n // BUCKET)
        if len(body) < head:
            raise DecodeError(f"body of {len(body)} bytes is shorter than its {head} bytes of norms")
        step = scales(body[:head]) / S
        levels = decode_symbols(body[head:], n) - S
        return (levels * np.repeat(step, BUCKET)[:n]).astype(np.float32)


QsgdCodec().register(99)
