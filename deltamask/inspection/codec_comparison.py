"""The same flips in every codec, really encoded and decoded, beside both entropy bounds. Needs no torch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from deltamask.codecs import CodecContext, codecs, entropy
from deltamask.masking.masks import Positions


@dataclass(frozen=True)
class Rival:
    """One codec on the flips of one payload. false_flips: positions that decoding adds. bpp: bits per parameter."""

    codec: str
    bytes: int
    bpp: float
    bits_a_flip: float
    false_flips: int
    encode_seconds: float
    decode_seconds: float


def encode_all(positions: Positions, context: CodecContext) -> Iterator[Rival]:
    """Every registered codec in turn. Times are of one call; a codec's first one may include its compilation."""
    for name in codecs:
        begun = time.perf_counter()
        payload = codecs[name].encode(positions, context)
        encoded = time.perf_counter()
        decoded = codecs[name].decode(payload, context)
        done = time.perf_counter()
        bits = 8 * len(payload)
        yield Rival(
            codec=name,
            bytes=len(payload),
            bpp=bits / context.d,
            bits_a_flip=bits / max(1, len(positions)),
            false_flips=len(decoded) - len(positions),
            encode_seconds=encoded - begun,
            decode_seconds=done - encoded,
        )


def bounds(positions: Positions, context: CodecContext) -> tuple[float, float]:
    """(i.i.d. entropy, entropy given what both sides know) of these flips, in bits per parameter."""
    iid = entropy.entropy_iid(len(positions), context.d)
    return iid / context.d, entropy.entropy_side(positions, context) / context.d
