"""How a filter answers for one position, step by step, and which positions ask a given slot.

The arithmetic is the codecs' own, called for a single position. Needs no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from deltamask.base.kernels import kernel
from deltamask.codecs import bloom, xor
from deltamask.codecs.base import CodecContext, scan
from deltamask.codecs.bfuse import FuseFilter
from deltamask.codecs.bfuse_build import murmur64, slots_of
from deltamask.codecs.bloom import BloomFilter
from deltamask.codecs.xor import XorFilter
from deltamask.masking.masks import Positions

Filter = FuseFilter | XorFilter | BloomFilter
WORD = (1 << 64) - 1


@runtime_checkable
class HasFilter(Protocol):
    """A codec whose payload is a filter that can be asked."""

    def filter_of(self, payload: bytes, context: CodecContext) -> Filter:
        """The filter inside a payload, every field checked. Raises DecodeError."""
        ...


@dataclass(frozen=True)
class Lookup:
    """How a filter comes to its answer for `position`.

    hash: 64 bits (for Bloom the first one). slots: those the position asks, in order. values: what they hold.
    combined: XOR of the values; for Bloom the number of asked bits that are set. wanted: the position's own
    fingerprint; for Bloom the number of asked bits.
    """

    position: int
    hash: int
    slots: tuple[int, ...]
    values: tuple[int, ...]
    combined: int
    wanted: int

    @property
    def is_member(self) -> bool:
        return self.combined == self.wanted


def look_up(filter: Filter, position: int) -> Lookup:
    """The steps of `members` for one position. ValueError for an empty filter, which asks nothing."""
    if slot_count(filter) == 0:
        raise ValueError("an empty filter asks no slot")
    if isinstance(filter, BloomFilter):
        m = np.uint64(filter.m)
        slots = tuple(int(bloom.slot_of(np.uint64(position), turn, m)) for turn in range(filter.hashes))
        values = tuple(int(filter.bits[slot >> 3] >> (slot & 7)) & 1 for slot in slots)
        return Lookup(
            position, _murmur(position * bloom.MAX_HASHES + bloom.SALT), slots, values, sum(values), len(slots)
        )
    h = _murmur(position + filter.seed)
    slots = tuple(int(slot) for slot in _slots(filter, h))
    values = tuple(int(filter.fingerprints[slot]) for slot in slots)
    combined = values[0] ^ values[1] ^ values[2]
    return Lookup(position, h, slots, values, combined, (h ^ h >> 32) & ((1 << 8 * filter.fingerprints.itemsize) - 1))


def _murmur(key: int) -> int:
    return int(murmur64(np.uint64(key & WORD)))


def _slots(filter: FuseFilter | XorFilter, h: int) -> tuple[int, int, int]:
    if isinstance(filter, XorFilter):
        return xor.slots_of(np.uint64(h), np.uint64(filter.block_length))
    length = np.uint64(filter.segment_length)
    return slots_of(np.uint64(h), length, np.uint64(filter.segment_count * filter.segment_length))


def slot_count(filter: Filter) -> int:
    """How many slots there are to ask: fingerprints, or bits of a Bloom filter."""
    return filter.m if isinstance(filter, BloomFilter) else len(filter.fingerprints)


@kernel
def _fuse_asks(seed, segment_length, reach, first, last, start, stop, found):  # type: ignore[no-untyped-def]
    for index in range(stop - start):
        h0, h1, h2 = slots_of(murmur64(np.uint64(start + index) + seed), segment_length, reach)
        found[index] = first <= h0 <= last or first <= h1 <= last or first <= h2 <= last


@kernel
def _xor_asks(seed, block_length, first, last, start, stop, found):  # type: ignore[no-untyped-def]
    for index in range(stop - start):
        h0, h1, h2 = xor_slots_of(murmur64(np.uint64(start + index) + seed), block_length)
        found[index] = first <= h0 <= last or first <= h1 <= last or first <= h2 <= last


@kernel
def _bloom_asks(m, hashes, first, last, start, stop, found):  # type: ignore[no-untyped-def]
    for index in range(stop - start):
        for turn in range(hashes):
            if first <= bloom_slot_of(np.uint64(start + index), turn, m) <= last:
                found[index] = True
                break


xor_slots_of, bloom_slot_of = xor.slots_of, bloom.slot_of


def askers(filter: Filter, first: int, last: int, d: int) -> Positions:
    """The positions in [0, d) whose answer depends on the slots first … last, sorted."""
    low, high = np.uint64(first), np.uint64(last)

    def asks(start: int, stop: int) -> npt.NDArray[np.bool_]:
        found = np.zeros(stop - start, np.bool_)
        if isinstance(filter, BloomFilter):
            _bloom_asks(np.uint64(filter.m), filter.hashes, low, high, start, stop, found)
        elif isinstance(filter, XorFilter):
            _xor_asks(np.uint64(filter.seed), np.uint64(filter.block_length), low, high, start, stop, found)
        else:
            reach = np.uint64(filter.segment_count * filter.segment_length)
            _fuse_asks(np.uint64(filter.seed), np.uint64(filter.segment_length), reach, low, high, start, stop, found)
        return found

    return scan(asks, d) if slot_count(filter) else np.zeros(0, np.int64)


def segment_of(filter: FuseFilter | XorFilter, slot: int) -> int:
    """The segment (of a fuse filter) or the third (of an xor filter) in which a slot lies."""
    return slot // (filter.block_length if isinstance(filter, XorFilter) else filter.segment_length)
