"""Bloom filters, DeepReduce's index compression (arXiv 2102.03112, section 4), over flips.

`bloom` sends the filter alone: false flips at a given rate. `bloom-p0` is DeepReduce's policy P0, under which the
sender also sends the value of every position that the receiver will take for a member. The value of a flip is one bit,
true or false positive, so the set arrives exactly.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from deltamask.base.kernels import kernel
from deltamask.codecs.base import CodecContext, checked, codecs, scan
from deltamask.codecs.bfuse_build import murmur64
from deltamask.codecs.wire import png
from deltamask.codecs.wire.message import HEADER_BYTES, DecodeError, Field, register_kind, seal, unseal
from deltamask.masking.masks import Positions

FIELDS = struct.Struct("<IBI")  # m, bits of the filter; hashes; positives that P0 speaks of (0 without it)
MAX_HASHES = 32
SALT = 0x9E3779B97F4A7C15  # so that hash 0 of position 0 is not 0
MIN_BITS = 128  # a handful of keys in fewer bits would miss the rate
FPR = 2.0**-8  # that of `bfuse8`, so that both can be compared
P0_RATE = 2.08  # policy P0's rate, in multiples of the density of flips
FULLEST = 0.75  # of the bits of a large filter are set: built, it is 0.59 at most, and a full one answers slowly
LARGE = 1 << 16  # bits, of which the share that is set varies by less than 0.002


@dataclass(frozen=True)
class BloomFilter:
    """bits: (⌈m / 8⌉,) uint8, slot s in byte s // 8 at bit s % 8. m = 0 is the empty set."""

    m: int
    hashes: int
    bits: npt.NDArray[np.uint8]


def build(positions: Positions, fpr: float) -> BloomFilter:
    """The filter with the fewest bits at false-positive rate `fpr`: n·log2(1 / fpr) / ln 2 of them."""
    if len(positions) == 0:
        return BloomFilter(0, 0, np.zeros(0, np.uint8))
    hashes = min(MAX_HASHES, max(1, round(-math.log2(fpr))))
    # With the number of hashes rounded, this many bits give the rate: fpr = (1 − exp(−hashes·n / m))^hashes.
    m = max(MIN_BITS, math.ceil(-hashes * len(positions) / math.log1p(-(fpr ** (1 / hashes)))))
    if m >= 1 << 32:
        raise ValueError(f"a Bloom filter of {m} bits is beyond this format's 2³² − 1")
    bits = np.zeros(-(-m // 8), np.uint8)
    _insert(positions, np.uint64(m), hashes, bits)
    return BloomFilter(m, hashes, bits)


@kernel(inline="always")
def slot_of(position: np.uint64, turn: int, m: np.uint64) -> np.uint64:
    """The slot of hash number `turn`. Independent hashes: double hashing misses the rate on small filters."""
    h = murmur64(position * np.uint64(MAX_HASHES) + np.uint64(turn) + np.uint64(SALT))
    return ((h >> np.uint64(32)) * m) >> np.uint64(32)


@kernel
def _insert(positions, m, hashes, bits):  # type: ignore[no-untyped-def]
    for position in positions:
        for turn in range(hashes):
            slot = slot_of(np.uint64(position), turn, m)
            bits[slot >> np.uint64(3)] |= np.uint8(1 << (slot & np.uint64(7)))


@kernel
def _members(bits, m, hashes, start, stop, found):  # type: ignore[no-untyped-def]
    for index in range(stop - start):
        inside = True
        for turn in range(hashes):
            slot = slot_of(np.uint64(start + index), turn, m)
            if not (bits[slot >> np.uint64(3)] >> np.uint8(slot & np.uint64(7))) & 1:
                inside = False
                break
        found[index] = inside


def members(filter: BloomFilter, start: int, stop: int) -> npt.NDArray[np.bool_]:
    """For each position in [start, stop): does the filter say it is in the set? No false negatives."""
    found = np.zeros(stop - start, np.bool_)
    if filter.m:
        _members(filter.bits, np.uint64(filter.m), filter.hashes, start, stop, found)
    return found


@dataclass(frozen=True)
class BloomCodec:
    """`bloom`, and with `exact` `bloom-p0`, as the pixels of a grayscale PNG."""

    exact: bool
    suffix: str = ".png"

    @property
    def name(self) -> str:
        return "bloom-p0" if self.exact else "bloom"

    @property
    def false_positive_rate(self) -> float:
        return 0.0 if self.exact else FPR

    def encode(self, positions: Positions, context: CodecContext) -> bytes:
        positions = checked(positions, context.d)
        filter = build(positions, self._rate(len(positions), context.d))
        verdicts = b""
        count = 0
        if self.exact:
            positives = scan(lambda start, stop: members(filter, start, stop), context.d)
            count = len(positives)
            verdicts = np.packbits(_is_in(positives, positions), bitorder="little").tobytes()
        body = FIELDS.pack(filter.m, filter.hashes, count) + filter.bits.tobytes() + verdicts
        return png.write(seal(self.name, context.round, context.client, context.d, body))

    def _rate(self, count: int, d: int) -> float:
        """P0 pays 1.44·log2(1 / fpr) bits a flip and fpr bits a position, least in total at 2.08·density."""
        return min(0.5, max(2.0**-MAX_HASHES, P0_RATE * count / d)) if self.exact else FPR

    def most_bits(self, hashes: int, d: int) -> int:
        """No valid filter has more: bits for the largest set that is sent with so many hashes, from 1."""
        if self.exact:
            rate = min(0.5, 2.0 ** (0.5 - hashes))  # the highest that is rounded to `hashes`
            keys = rate * d / P0_RATE if hashes > 1 else d
        else:
            rate, keys, hashes = FPR, d, self.most_hashes
        return max(MIN_BITS, math.ceil(-hashes * keys / math.log1p(-(rate ** (1 / hashes)))) + 1)

    @property
    def most_hashes(self) -> int:
        """No valid filter has more."""
        return MAX_HASHES if self.exact else round(-math.log2(FPR))

    def decode(self, payload: bytes, context: CodecContext) -> Positions:
        filter, count, judged = self.parse(payload, context)
        positives = scan(lambda start, stop: members(filter, start, stop), context.d)
        if not self.exact:
            return positives
        if count != len(positives):
            raise DecodeError(f"message judges {count} positives, its filter has {len(positives)}")
        verdicts = np.unpackbits(np.frombuffer(judged, np.uint8), bitorder="little")
        if verdicts[count:].any():
            raise DecodeError("the last byte of verdicts has bits left over")
        return positives[verdicts[:count].astype(np.bool_)]

    def parse(self, payload: bytes, context: CodecContext) -> tuple[BloomFilter, int, memoryview]:
        """(filter, positives that P0 judges, its verdicts as bytes), every field checked. Raises DecodeError."""
        d = context.d
        most = HEADER_BYTES + FIELDS.size + self.most_bits(1 if self.exact else self.most_hashes, d) // 8 + d // 8 + 64
        message = png.read_fields(payload, FIELDS, most, partial(self._body_bytes, d))
        body = unseal(message, self.name, context.round, context.client, d)
        m, hashes, count = FIELDS.unpack_from(body)
        split = FIELDS.size + -(-m // 8)
        bits = np.frombuffer(body[FIELDS.size : split], np.uint8)
        if m > LARGE and (full := int(np.bitwise_count(bits).sum(dtype=np.int64)) / m) > FULLEST:
            raise DecodeError(f"Bloom filter of {m} bits, of which {full:.0%} are set: at most {FULLEST:.0%} can be")
        return BloomFilter(m, hashes, bits), count, body[split:]

    def filter_of(self, payload: bytes, context: CodecContext) -> BloomFilter:
        """The filter inside a payload, every field checked. Raises DecodeError."""
        return self.parse(payload, context)[0]

    def _body_bytes(self, d: int, m: int, hashes: int, count: int) -> int:
        if hashes > self.most_hashes or (hashes == 0) != (m == 0):
            raise DecodeError(f"Bloom filter of {m} bits with {hashes} hashes, at most {self.most_hashes} are possible")
        if count and not self.exact:
            raise DecodeError(f"{count} verdicts in a message without policy P0")
        if m and m > (most := self.most_bits(hashes, d)):
            raise DecodeError(f"Bloom filter of {m} bits with {hashes} hashes, at most {most} are possible for d = {d}")
        return -(-m // 8) + -(-count // 8)


def _is_in(some: Positions, sorted_set: Positions) -> npt.NDArray[np.bool_]:
    """For each of `some`, is it in `sorted_set`? Both sorted."""
    at = np.searchsorted(sorted_set, some)
    inside = at < len(sorted_set)
    inside[inside] = sorted_set[at[inside]] == some[inside]
    return inside


_KIND_FIELDS = (
    Field("m", 4, "bits of the filter"),
    Field("hashes", 1, "bits that a position asks"),
    Field("judged", 4, "verdicts of P0"),
)
register_kind("bloom", 13, fields=_KIND_FIELDS)
register_kind("bloom-p0", 14, fields=_KIND_FIELDS, body="verdicts", about="one bit a positive: is it a flip?")
codecs.register("bloom")(BloomCodec(exact=False))
codecs.register("bloom-p0")(BloomCodec(exact=True))
