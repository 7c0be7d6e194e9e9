"""Our own construction of a 3-wise binary fuse filter, for the fingerprint width that the C core lacks.

The same filter as the C core's: the same sizes, the same hash and the same slots (Graf & Lemire 2022, arXiv 2201.01174,
section 3), found by peeling: a slot that a single key asks for settles that key, which frees its other two slots.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deltamask.base.kernels import kernel
from deltamask.codecs.wire.message import Field

HASH_SEED = Field("seed", 8, "of the hash: added to a position before it is mixed")
MAX_SEGMENT = 1 << 18
MAX_TRIES = 100  # one try fails with probability well under 1 %: a hundred failures mean that keys repeat


class ConstructionError(RuntimeError):
    """No seed gave a filter within the allowed tries: keys are not unique."""


def sizes(count: int) -> tuple[int, int]:
    """(segment length, segment count) for `count` > 0 keys; the filter has (segment count + 2) × segment length slots.

    As the C core chooses them: shorter segments than the paper's where a set of thousands would get fewer than 32.
    """
    segment_length = min(1 << int(math.log(count) / math.log(3.33) + 2.25), MAX_SEGMENT)
    factor = max(1.125, 0.875 + 0.25 * math.log(1_000_000) / math.log(count)) if count > 1 else 0.0
    capacity = round(count * factor)
    while segment_length > 256 and -(-capacity // segment_length) - 2 < 32:
        segment_length //= 2
    return segment_length, max(1, -(-capacity // segment_length) - 2)


@kernel(inline="always")
def murmur64(h: np.uint64) -> np.uint64:
    """Murmur's 64-bit finaliser."""
    h ^= h >> np.uint64(33)
    h *= np.uint64(0xFF51AFD7ED558CCD)
    h ^= h >> np.uint64(33)
    h *= np.uint64(0xC4CEB9FE1A85EC53)
    h ^= h >> np.uint64(33)
    return h


@kernel(inline="always")
def slots_of(h: np.uint64, segment_length: np.uint64, reach: np.uint64) -> tuple:
    """(h0, h1, h2): the three slots that a key with hash h asks. reach: segment count × segment length, below 2³²."""
    low = (h & np.uint64(0xFFFFFFFF)) * reach
    h0 = ((h >> np.uint64(32)) * reach + (low >> np.uint64(32))) >> np.uint64(32)
    mask = segment_length - np.uint64(1)
    h1 = (h0 + segment_length) ^ ((h >> np.uint64(18)) & mask)
    h2 = (h0 + segment_length + segment_length) ^ (h & mask)
    return h0, h1, h2


@kernel
def _hash_by_segment(keys, seed, segment_length, reach, segments):  # type: ignore[no-untyped-def]
    """Hashes of all keys, ordered by their first segment: neighbours in the list then touch neighbouring slots."""
    start = np.zeros(segments + 1, np.int64)
    for key in keys:
        h0, _, _ = slots_of(murmur64(key + seed), segment_length, reach)
        start[h0 // segment_length + 1] += 1
    for s in range(segments):
        start[s + 1] += start[s]
    hashes = np.empty(len(keys), np.uint64)
    for key in keys:
        h = murmur64(key + seed)
        h0, _, _ = slots_of(h, segment_length, reach)
        hashes[start[h0 // segment_length]] = h
        start[h0 // segment_length] += 1
    return hashes


@kernel
def _peel(keys, seed, segment_length, segments, order, own):  # type: ignore[no-untyped-def]
    """Hashes in the order in which they are settled, and each one's own slot; returns how many were settled."""
    reach = np.uint64(segments) * segment_length
    hashes = _hash_by_segment(keys, seed, segment_length, reach, segments)
    total = (segments + 2) * np.int64(segment_length)
    degree = np.zeros(total, np.uint32)
    joined = np.zeros(total, np.uint64)  # XOR of the hashes of all keys still asking for the slot
    for h in hashes:
        h0, h1, h2 = slots_of(h, segment_length, reach)
        for slot in (h0, h1, h2):
            degree[slot] += np.uint32(1)
            joined[slot] ^= h
    queue = np.empty(total, np.uint32)
    waiting = 0
    for slot in range(total):
        if degree[slot] == 1:
            queue[waiting] = slot
            waiting += 1
    settled = 0
    while waiting:
        waiting -= 1
        slot_of_one = queue[waiting]
        if degree[slot_of_one] != 1:
            continue
        h = joined[slot_of_one]
        order[settled] = h
        own[settled] = slot_of_one
        settled += 1
        h0, h1, h2 = slots_of(h, segment_length, reach)
        for slot in (h0, h1, h2):
            degree[slot] -= np.uint32(1)
            joined[slot] ^= h
            if degree[slot] == 1:
                queue[waiting] = slot
                waiting += 1
    return settled


@kernel
def _fill(order, own, segment_length, reach, fingerprints):  # type: ignore[no-untyped-def]
    """From the key settled last to the first: make the XOR of its three slots the fingerprint that it wants."""
    for i in range(len(order) - 1, -1, -1):
        h = order[i]
        h0, h1, h2 = slots_of(h, segment_length, reach)
        f = np.uint64(fingerprints[h0]) ^ np.uint64(fingerprints[h1]) ^ np.uint64(fingerprints[h2])
        # The key's own slot is still 0: it is filled last of the three, so nothing after it changes it.
        fingerprints[own[i]] = f ^ h ^ (h >> np.uint64(32))


@dataclass(frozen=True)
class Peeling:
    """How a set of n keys was peeled, for whoever wants to look at it (`peel`).

    keys: (n,) in the order in which they were settled; slots: (n, 3) the three slots that each asks; own: (n,) the one
    among them that settled it; wanted: (n,) uint64, what the three must XOR to, of which a filter keeps the low bits.
    """

    seed: int
    segment_length: int
    segment_count: int
    keys: npt.NDArray[np.int64]
    slots: npt.NDArray[np.int64]
    own: npt.NDArray[np.int64]
    wanted: npt.NDArray[np.uint64]

    @property
    def total(self) -> int:
        """Slots of the filter."""
        return (self.segment_count + 2) * self.segment_length


def _search(
    positions: npt.NDArray[np.int64], max_tries: int
) -> tuple[int, int, int, npt.NDArray[np.uint64], npt.NDArray[np.uint32]]:
    """(seed, segment length, segment count, hashes in peeling order, their own slots) of the first seed that works."""
    segment_length, segments = sizes(len(positions))
    keys = positions.astype(np.uint64)
    order, own = np.empty(len(keys), np.uint64), np.empty(len(keys), np.uint32)
    for attempt in range(max_tries):
        seed = int(murmur64(np.uint64(attempt + 1)))
        if _peel(keys, np.uint64(seed), np.uint64(segment_length), segments, order, own) == len(keys):
            return seed, segment_length, segments, order, own
    raise ConstructionError(f"no filter of {len(keys)} keys in {max_tries} tries: positions are not unique")


def peel(positions: npt.NDArray[np.int64], max_tries: int = MAX_TRIES) -> Peeling:
    """The peeling that `populate` fills its filter by, of at least one position. Raises ConstructionError."""
    seed, segment_length, segments, order, own = _search(positions, max_tries)
    reach = np.uint64(segments * segment_length)
    slots = np.array([slots_of(h, np.uint64(segment_length), reach) for h in order], np.int64)
    key_of = {int(murmur64(np.uint64((int(key) + seed) % 2**64))): int(key) for key in positions}
    names = np.array([key_of[int(h)] for h in order], np.int64)
    return Peeling(seed, segment_length, segments, names, slots, own.astype(np.int64), order ^ (order >> np.uint64(32)))


def populate(
    positions: npt.NDArray[np.int64], dtype: npt.DTypeLike, max_tries: int = MAX_TRIES
) -> tuple[int, int, int, npt.NDArray[np.unsignedinteger]]:
    """(seed, segment length, segment count, fingerprints) for at least one position. Raises ConstructionError."""
    seed, segment_length, segments, order, own = _search(positions, max_tries)
    fingerprints = np.zeros((segments + 2) * segment_length, dtype)
    _fill(order, own, np.uint64(segment_length), np.uint64(segments * segment_length), fingerprints)
    return seed, segment_length, segments, fingerprints
