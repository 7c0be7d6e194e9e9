"""Xor filters (Graf & Lemire 2020, arXiv 1912.08258), the paper's ablation: 1.23 slots a key, a fuse filter has 1.13.

Construction is pyfusefilter's C core; membership is our own kernel over a range of positions.
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
from deltamask.codecs.bfuse_build import HASH_SEED, ConstructionError, murmur64
from deltamask.codecs.wire import png
from deltamask.codecs.wire.message import HEADER_BYTES, DecodeError, Field, register_kind, seal, unseal
from deltamask.masking.masks import Positions

FIELDS = struct.Struct("<QI")  # seed, block length


@dataclass(frozen=True)
class XorFilter:
    """The filter as plain data. fingerprints: (3 × block_length,) unsigned; a position asks one slot in each third."""

    seed: int
    block_length: int
    fingerprints: npt.NDArray[np.unsignedinteger]


def build(positions: Positions, width: int) -> XorFilter:
    """A filter that holds `positions` (unique), with 8- or 16-bit fingerprints. The empty set gives an empty filter.

    Raises ConstructionError if no seed works, which means that positions repeat.
    """
    dtype = np.dtype(f"<u{width // 8}")
    if len(positions) == 0:
        return XorFilter(0, 0, np.zeros(0, dtype))
    keys = np.ascontiguousarray(positions, dtype=np.uint64).copy()  # the C core may reorder its buffer
    core = ffi.new(f"xor{width}_t *")
    if not getattr(lib, f"xor{width}_allocate")(len(keys), core):
        raise MemoryError(f"no memory for a filter of {len(keys)} keys")
    try:
        # The core leaves the slots that no key needs as malloc gave them: what was in memory would go over the wire.
        ffi.memmove(core.fingerprints, bytes(3 * core.blockLength * (width // 8)), 3 * core.blockLength * (width // 8))
        # The core itself takes a new seed after a failure, up to a hundred times.
        if not getattr(lib, f"xor{width}_buffered_populate")(
            ffi.cast("uint64_t *", ffi.from_buffer(keys)), len(keys), core
        ):
            raise ConstructionError(f"the filter of {len(keys)} keys could not be built: positions are not unique")
        raw = bytes(ffi.buffer(core.fingerprints, 3 * core.blockLength * (width // 8)))
        return XorFilter(core.seed, core.blockLength, np.frombuffer(raw, dtype))
    finally:
        getattr(lib, f"xor{width}_free")(core)


@kernel(inline="always")
def _slot(h: np.uint64, turn: np.uint64, block_length: np.uint64) -> np.uint64:
    """The low 32 bits of h rotated left by `turn`, scaled to [0, block_length)."""
    turned = (h << turn) | (h >> ((np.uint64(64) - turn) & np.uint64(63)))
    return ((turned & np.uint64(0xFFFFFFFF)) * block_length) >> np.uint64(32)


@kernel(inline="always")
def slots_of(h: np.uint64, block_length: np.uint64) -> tuple:
    """(h0, h1, h2): the three slots that a key with hash h asks, one in each third."""
    h0 = _slot(h, np.uint64(0), block_length)
    h1 = _slot(h, np.uint64(21), block_length) + block_length
    h2 = _slot(h, np.uint64(42), block_length) + block_length + block_length
    return h0, h1, h2


@kernel
def _members(fingerprints, seed, block_length, width_mask, start, stop, found):  # type: ignore[no-untyped-def]
    for index in range(stop - start):
        h = murmur64(np.uint64(start + index) + seed)
        h0, h1, h2 = slots_of(h, block_length)
        stored = np.uint64(fingerprints[h0]) ^ np.uint64(fingerprints[h1]) ^ np.uint64(fingerprints[h2])
        found[index] = ((h ^ (h >> np.uint64(32)) ^ stored) & width_mask) == np.uint64(0)


def members(filter: XorFilter, start: int, stop: int) -> npt.NDArray[np.bool_]:
    """For each position in [start, stop): does the filter say it is in the set? No false negatives."""
    found = np.zeros(stop - start, np.bool_)
    if filter.block_length:
        width_mask = np.uint64((1 << 8 * filter.fingerprints.itemsize) - 1)
        seed, length = np.uint64(filter.seed), np.uint64(filter.block_length)
        _members(filter.fingerprints, seed, length, width_mask, start, stop, found)
    return found


@dataclass(frozen=True)
class XorCodec:
    """`xor{width}`: filter fields and fingerprints as the pixels of a grayscale PNG."""

    width: int
    exact: bool = False
    suffix: str = ".png"

    @property
    def name(self) -> str:
        return f"xor{self.width}"

    @property
    def false_positive_rate(self) -> float:
        return 2.0**-self.width

    def encode(self, positions: Positions, context: CodecContext) -> bytes:
        filter = build(checked(positions, context.d), self.width)
        body = FIELDS.pack(filter.seed, filter.block_length) + filter.fingerprints.tobytes()
        return png.write(seal(self.name, context.round, context.client, context.d, body))

    def decode(self, payload: bytes, context: CodecContext) -> Positions:
        filter = self.filter_of(payload, context)
        return scan(lambda start, stop: members(filter, start, stop), context.d)

    def filter_of(self, payload: bytes, context: CodecContext) -> XorFilter:
        """The filter inside a payload, every field checked. Raises DecodeError."""
        most = HEADER_BYTES + FIELDS.size + (2 * context.d + 128) * self.width // 8
        message = png.read_fields(payload, FIELDS, most, _fingerprint_bytes(self.width))
        body = unseal(message, self.name, context.round, context.client, context.d)
        fingerprints = np.frombuffer(body[FIELDS.size :], np.dtype(f"<u{self.width // 8}"))
        seed, block_length = FIELDS.unpack_from(body)
        return XorFilter(seed, block_length, fingerprints)


def _fingerprint_bytes(width: int) -> Callable[[int, int], int]:
    def body_bytes(seed: int, block_length: int) -> int:
        if 3 * block_length >= 1 << 32:
            raise DecodeError(f"blocks of {block_length} slots are too large")
        return 3 * block_length * width // 8

    return body_bytes


_KIND_FIELDS = (HASH_SEED, Field("block length", 4, "slots in each third"))
for _width, _number in ((8, 11), (16, 12)):
    register_kind(f"xor{_width}", _number, fields=_KIND_FIELDS)
    codecs.register(f"xor{_width}")(XorCodec(_width))
