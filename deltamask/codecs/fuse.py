"""Binary fuse filters (Graf & Lemire 2022, arXiv 2201.01174), the paper's code for flips.

Construction is pyfusefilter's C core on a uint64 buffer. Membership is our own kernel, which answers all positions of a
range at once and never hands unchecked bytes to C.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt
from pyfusefilter._xorfilter import ffi, lib

from deltamask.codecs import png
from deltamask.codecs.base import HEADER_BYTES, CodecContext, DecodeError, codecs, seal, unseal
from deltamask.masks import Positions

_FIELDS = struct.Struct("<QII")  # seed, segment length, segment count
MAX_SEGMENT = 1 << 18


@dataclass(frozen=True)
class FuseFilter:
    """The filter as plain data. fingerprints: ((segment_count + 2) × segment_length,) unsigned of `bpe` bits."""

    seed: int
    segment_length: int
    segment_count: int
    fingerprints: npt.NDArray[np.unsignedinteger]


def build(positions: Positions, width: int) -> FuseFilter:
    """A filter that holds `positions` (unique), with 8- or 16-bit fingerprints. The empty set gives an empty filter."""
    if len(positions) == 0:
        return FuseFilter(0, 1, 0, np.zeros(0, np.dtype(f"<u{width // 8}")))
    keys = np.ascontiguousarray(positions, dtype=np.uint64).copy()  # the C core may reorder its buffer
    name = f"binary_fuse{width}"
    core = ffi.new(f"{name}_t *")
    if not getattr(lib, f"{name}_allocate")(len(keys), core):
        raise MemoryError(f"no memory for a filter of {len(keys)} keys")
    try:
        if not getattr(lib, f"{name}_populate")(ffi.cast("uint64_t *", ffi.from_buffer(keys)), len(keys), core):
            raise RuntimeError(f"the filter of {len(keys)} keys could not be built: positions are not unique")
        raw = bytes(ffi.buffer(core.Fingerprints, core.ArrayLength * (width // 8)))
        return FuseFilter(core.Seed, core.SegmentLength, core.SegmentCount, np.frombuffer(raw, np.dtype(f"<u{width // 8}")))
    finally:
        getattr(lib, f"{name}_free")(core)


@numba.njit(cache=True, inline="always")
def _murmur64(h: np.uint64) -> np.uint64:
    h ^= h >> np.uint64(33)
    h *= np.uint64(0xFF51AFD7ED558CCD)
    h ^= h >> np.uint64(33)
    h *= np.uint64(0xC4CEB9FE1A85EC53)
    h ^= h >> np.uint64(33)
    return h


@numba.njit(cache=True, inline="always")
def slots(position: np.uint64, seed: np.uint64, segment_length: np.uint64, reach: np.uint64) -> tuple:
    """(fingerprint before truncation, h0, h1, h2): the hash of a position and the three slots it asks."""
    h = _murmur64(position + seed)
    low = (h & np.uint64(0xFFFFFFFF)) * reach
    h0 = ((h >> np.uint64(32)) * reach + (low >> np.uint64(32))) >> np.uint64(32)
    mask = segment_length - np.uint64(1)
    h1 = (h0 + segment_length) ^ ((h >> np.uint64(18)) & mask)
    h2 = (h0 + segment_length + segment_length) ^ (h & mask)
    return h ^ (h >> np.uint64(32)), h0, h1, h2


@numba.njit(parallel=True, cache=True)
def _members(fingerprints, seed, segment_length, reach, width_mask, start, stop, found):  # type: ignore[no-untyped-def]
    for index in numba.prange(stop - start):
        f, h0, h1, h2 = slots(np.uint64(start + index), seed, segment_length, reach)
        stored = np.uint64(fingerprints[h0]) ^ np.uint64(fingerprints[h1]) ^ np.uint64(fingerprints[h2])
        found[index] = ((f ^ stored) & width_mask) == np.uint64(0)


def members(filter: FuseFilter, start: int, stop: int) -> npt.NDArray[np.bool_]:
    """For each position in [start, stop): does the filter say it is in the set? No false negatives."""
    found = np.zeros(stop - start, np.bool_)
    if filter.segment_count == 0:
        return found
    width = 8 * filter.fingerprints.itemsize
    _members(
        filter.fingerprints,
        np.uint64(filter.seed),
        np.uint64(filter.segment_length),
        np.uint64(filter.segment_count * filter.segment_length),
        np.uint64((1 << width) - 1),
        start,
        stop,
        found,
    )
    return found


@dataclass(frozen=True)
class FuseCodec:
    """`bfuse{width}`: filter fields and fingerprints as the pixels of a grayscale PNG (the paper)."""

    width: int
    exact: bool = False
    suffix: str = ".png"

    @property
    def name(self) -> str:
        return f"bfuse{self.width}"

    def encode(self, positions: Positions, context: CodecContext) -> bytes:
        filter = build(positions, self.width)
        fields = _FIELDS.pack(filter.seed, filter.segment_length, filter.segment_count)
        body = fields + filter.fingerprints.tobytes()
        return png.write(seal(self.name, context.round, context.client, context.d, body))

    def decode(self, payload: bytes, context: CodecContext) -> Positions:
        return np.flatnonzero(members(self.parse(payload, context), 0, context.d))

    def parse(self, payload: bytes, context: CodecContext) -> FuseFilter:
        """The filter inside a payload, every field checked. Raises DecodeError."""
        # A filter holds at most d keys; the largest overhead is that of small sets, a few hundred slots.
        most = HEADER_BYTES + _FIELDS.size + (2 * context.d + 2048) * self.width // 8
        pixels, size = png.read(payload, max_pixels=2 * most)
        start = HEADER_BYTES + _FIELDS.size
        if len(pixels) < start:
            raise DecodeError(f"picture of {len(pixels)} pixels is shorter than header and filter fields, {start}")
        seed, segment_length, segment_count = _FIELDS.unpack_from(pixels, HEADER_BYTES)
        if not 0 < segment_length <= MAX_SEGMENT or segment_length & (segment_length - 1):
            raise DecodeError(f"segment length {segment_length} is no power of two up to {MAX_SEGMENT}")
        slots_total = (segment_count + 2) * segment_length if segment_count else 0
        if slots_total * self.width // 8 > len(pixels) - start:
            raise DecodeError(f"filter of {slots_total} slots does not fit {len(pixels)} pixels")
        message = png.strip_padding(pixels, start + slots_total * self.width // 8, size)
        body = unseal(message, self.name, context.round, context.client, context.d)
        return FuseFilter(seed, segment_length, segment_count, np.frombuffer(body[_FIELDS.size :], np.dtype(f"<u{self.width // 8}")))


codecs.register("bfuse8")(FuseCodec(8))
