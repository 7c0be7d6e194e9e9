"""The same flips in every codec, really encoded and decoded, beside two entropy bounds. Needs no torch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from deltamask.codecs import CodecContext, codecs, entropy
from deltamask.masking.masks import Positions
from deltamask.runs import StoreError
from deltamask.simulation.ledger import bits_per_parameter

MOST_FLIPS = 5_000_000  # some minutes of a core over all codecs; a small payload of a stranger can stand for d of them


@dataclass(frozen=True)
class CodecResult:
    """One codec on the flips of one payload. false_flips: positions that decoding adds. bpp: bits per parameter."""

    codec: str
    bytes: int
    bpp: float
    bits_per_flip: float
    false_flips: int
    encode_seconds: float
    decode_seconds: float


def compare_codecs(positions: Positions, context: CodecContext) -> Iterator[CodecResult]:
    """Every registered codec in turn. Times are of one call; a codec's first one may include its compilation.

    StoreError for more than MOST_FLIPS.
    """
    if len(positions) > MOST_FLIPS:
        raise StoreError(f"{len(positions):,} flips, at most {MOST_FLIPS:,} are encoded with every codec")
    for name in codecs:
        start = time.perf_counter()
        payload = codecs[name].encode(positions, context)
        encoded = time.perf_counter()
        decoded = codecs[name].decode(payload, context)
        end = time.perf_counter()
        yield CodecResult(
            codec=name,
            bytes=len(payload),
            bpp=bits_per_parameter(len(payload), context.d),
            bits_per_flip=8 * len(payload) / max(1, len(positions)),
            false_flips=len(decoded) - len(positions),
            encode_seconds=encoded - start,
            decode_seconds=end - encoded,
        )


def entropy_bounds(positions: Positions, context: CodecContext) -> tuple[float, float]:
    """(i.i.d. entropy, entropy given what both sides know) of these flips, in bits per parameter."""
    iid = entropy.entropy_iid(len(positions), context.d)
    return iid / context.d, entropy.entropy_side(positions, context) / context.d
