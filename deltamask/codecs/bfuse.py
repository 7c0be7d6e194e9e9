"""Binary fuse filters (Graf & Lemire 2022, arXiv 2201.01174), the paper's code for flips.

Construction is pyfusefilter's C core on a uint64 buffer for 8 and 16 bits, our own for 32. Membership is our own
kernel, which answers all positions of a range at once for every width and never hands unchecked bytes to C. It runs on
one core: 1.5 ns a position need no second one, and a second one makes it wait whenever training has both.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pyfusefilter._xorfilter import ffi, lib

from deltamask.base.kernels import kernel
from deltamask.codecs.base import CodecContext, checked, codecs, scan
from deltamask.codecs.bfuse_build import HASH_SEED, MAX_SEGMENT, ConstructionError, murmur64, populate, slots_of
from deltamask.codecs.wire import png
from deltamask.codecs.wire.message import HEADER_BYTES, DecodeError, Field, register_kind, seal, unseal
from deltamask.masking.masks import Positions

FIELDS = struct.Struct("<QII")  # seed, segment length, segment count


@dataclass(frozen=True)
class FuseFilter:
    """The filter as plain data. fingerprints: ((segment_count + 2) × segment_length,) unsigned of `bpe` bits."""

    seed: int
    segment_length: int
    segment_count: int
    fingerprints: npt.NDArray[np.unsignedinteger]


def build(positions: Positions, width: int) -> FuseFilter:
    """A filter of 8-, 16- or 32-bit fingerprints that holds `positions` (unique). The empty set gives an empty filter.

    Raises ConstructionError if no seed works, which means that positions repeat.
    """
    dtype = np.dtype(f"<u{width // 8}")
    if len(positions) == 0:
        return FuseFilter(0, 1, 0, np.zeros(0, dtype))
    if width == 32:
        return FuseFilter(*populate(positions, dtype))
    keys = np.ascontiguousarray(positions, dtype=np.uint64).copy()  # the C core may reorder its buffer
    name = f"binary_fuse{width}"
    core = ffi.new(f"{name}_t *")
    if not getattr(lib, f"{name}_allocate")(len(keys), core):
        raise MemoryError(f"no memory for a filter of {len(keys)} keys")
    try:
        # The core itself takes a new seed after a failure, up to a hundred times.
        if not getattr(lib, f"{name}_populate")(ffi.cast("uint64_t *", ffi.from_buffer(keys)), len(keys), core):
            raise ConstructionError(f"the filter of {len(keys)} keys could not be built: positions are not unique")
        raw = bytes(ffi.buffer(core.Fingerprints, core.ArrayLength * (width // 8)))
        return FuseFilter(core.Seed, core.SegmentLength, core.SegmentCount, np.frombuffer(raw, dtype))
    finally:
        getattr(lib, f"{name}_free")(core)


@kernel
def _members(fingerprints, seed, segment_length, reach, width_mask, start, stop, found):  # type: ignore[no-untyped-def]
    for index in range(stop - start):
        h = murmur64(np.uint64(start + index) + seed)
        h0, h1, h2 = slots_of(h, segment_length, reach)
        stored = np.uint64(fingerprints[h0]) ^ np.uint64(fingerprints[h1]) ^ np.uint64(fingerprints[h2])
        found[index] = ((h ^ (h >> np.uint64(32)) ^ stored) & width_mask) == np.uint64(0)


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

    @property
    def false_positive_rate(self) -> float:
        return 2.0**-self.width

    def encode(self, positions: Positions, context: CodecContext) -> bytes:
        body = pack(build(checked(positions, context.d), self.width))
        return png.write(seal(self.name, context.round, context.client, context.d, body))

    def decode(self, payload: bytes, context: CodecContext) -> Positions:
        filter = self.filter_of(payload, context)
        return scan(lambda start, stop: members(filter, start, stop), context.d)

    def filter_of(self, payload: bytes, context: CodecContext) -> FuseFilter:
        """The filter inside a payload, every field checked. Raises DecodeError."""
        message = png.read_fields(payload, FIELDS, most_bytes(context.d, self.width), fingerprint_bytes(self.width))
        return unpack(unseal(message, self.name, context.round, context.client, context.d), self.width)


def pack(filter: FuseFilter) -> bytes:
    """The fields and the fingerprints, little-endian."""
    return FIELDS.pack(filter.seed, filter.segment_length, filter.segment_count) + filter.fingerprints.tobytes()


def unpack(body: memoryview, width: int) -> FuseFilter:
    """The filter in a body whose length `fingerprint_bytes` has already confirmed."""
    seed, segment_length, segment_count = FIELDS.unpack_from(body)
    fingerprints = np.frombuffer(body[FIELDS.size :], np.dtype(f"<u{width // 8}"))
    return FuseFilter(seed, segment_length, segment_count, fingerprints)


def most_bytes(d: int, width: int) -> int:
    """No valid message is longer: at most d keys, and the overhead of small sets is a few hundred slots."""
    return HEADER_BYTES + FIELDS.size + (2 * d + 2048) * width // 8


def fingerprint_bytes(width: int) -> Callable[[int, int, int], int]:
    """The check of the filter's fields, as `png.read_fields` asks for it."""

    def body_bytes(seed: int, segment_length: int, segment_count: int) -> int:
        if not 0 < segment_length <= MAX_SEGMENT or segment_length & (segment_length - 1):
            raise DecodeError(f"segment length {segment_length} is no power of two up to {MAX_SEGMENT}")
        slots = (segment_count + 2) * segment_length if segment_count else 0
        if slots >= 1 << 32:  # the kernel's slot arithmetic is in 64 bits and needs 32-bit sizes
            raise DecodeError(f"filter of {segment_count} segments of {segment_length} slots is too large")
        return slots * width // 8

    return body_bytes


KIND_FIELDS = (
    HASH_SEED,
    Field("segment length", 4, "slots in a segment, a power of two"),
    Field("segment count", 4, "segments, less two"),
)
for _width, _number in ((8, 8), (16, 9), (32, 10)):
    register_kind(f"bfuse{_width}", _number, fields=KIND_FIELDS)
    codecs.register(f"bfuse{_width}")(FuseCodec(_width))
