"""What every codec shares: the context both sides hold, the message header, the one exception, the registry."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from deltamask.base.registry import Registry
from deltamask.masking.masks import Positions, Theta
from deltamask.masking.noise import PublicNoise


class DecodeError(ValueError):
    """These bytes are not a valid payload for this context. The only exception a decoder raises."""


@dataclass(frozen=True)
class CodecContext:
    """What server and client both know before a payload travels.

    theta: (d,) θ_g in units of 2⁻¹⁶. noise: the client's public u by position. layers: where each masked layer starts
    in the flat vector, then d. round, client: whom the payload is from; a payload that says otherwise is refused.
    """

    round: int
    client: int
    theta: Theta
    noise: PublicNoise
    layers: tuple[int, ...] = ()

    @property
    def d(self) -> int:
        """Number of maskable weights."""
        return len(self.theta)


class Codec(Protocol):
    """A way to send a set of positions.

    exact: decoding gives back the very set. Otherwise it gives a superset, and `false_positive_rate` is the share of
    the other positions that it adds; None where that share depends on the flips. suffix: names the payload's files.
    """

    @property
    def name(self) -> str: ...

    @property
    def exact(self) -> bool: ...

    @property
    def suffix(self) -> str: ...

    @property
    def false_positive_rate(self) -> float | None:
        """Expected share of the positions outside the set that decoding adds to it."""
        ...

    def encode(self, positions: Positions, context: CodecContext) -> bytes:
        """Sorted unique positions in [0, d) to a payload."""
        ...

    def decode(self, payload: bytes, context: CodecContext) -> Positions:
        """The sorted positions that a server reads out of `payload`. Raises DecodeError, and nothing else."""
        ...


codecs: Registry[Codec] = Registry("codec")

MAGIC = b"DM"
VERSION = 1
HEADER = struct.Struct("<2sBBIIQI")  # magic, version, kind, round, client, d, CRC-32 of all other bytes
HEADER_BYTES = HEADER.size
_CRC_OFFSET = HEADER_BYTES - 4

# What the body holds. Numbers are part of the wire format: never reuse one.
KINDS = {
    "dense32": 1,
    "mask": 2,
    "rice": 3,
    "gap": 4,
    "bfuse8": 8,
    "bfuse16": 9,
    "bfuse32": 10,
    "xor8": 11,
    "xor16": 12,
    "bloom": 13,
    "bloom-p0": 14,
    "bfuse8-gated": 24,
    "bfuse16-gated": 25,
    "counts": 65,  # 64 was θ_g in 16 bits a parameter
    "theta": 66,
    "ones": 67,
    "fp32": 96,
    "fp16": 97,
    "signsgd": 98,
    "qsgd": 99,
    "drive": 100,
    "eden4": 101,
    "eden1": 102,
    "eden0.5": 103,
}


def seal(kind: str, round: int, client: int, d: int, body: bytes) -> bytes:
    """Header and body as one message (`docs/wire.md`)."""
    head = HEADER.pack(MAGIC, VERSION, KINDS[kind], round, client, d, 0)[:_CRC_OFFSET]
    return head + struct.pack("<I", zlib.crc32(body, zlib.crc32(head))) + body


def unseal(message: bytes | memoryview, kind: str, round: int, client: int, d: int) -> memoryview:
    """The body of a message that must be of this kind, round, client and d. Raises DecodeError naming the field."""
    view = memoryview(message)
    if len(view) < HEADER_BYTES:
        raise DecodeError(f"message of {len(view)} bytes is shorter than its {HEADER_BYTES}-byte header")
    magic, version, kind_id, its_round, its_client, its_d, crc = HEADER.unpack_from(view)
    if magic != MAGIC:
        raise DecodeError(f"magic bytes are {bytes(magic)!r}, expected {MAGIC!r}")
    if version != VERSION:
        raise DecodeError(f"wire version {version}, this package reads {VERSION}")
    expectations = (("kind", kind_id, KINDS[kind]), ("round", its_round, round), ("client", its_client, client))
    for name, got, expected in (*expectations, ("d", its_d, d)):
        if got != expected:
            raise DecodeError(f"{name} is {got}, expected {expected}")
    body = view[HEADER_BYTES:]
    if crc != zlib.crc32(body, zlib.crc32(view[:_CRC_OFFSET])):
        raise DecodeError("checksum does not match: the message was damaged")
    return body


CHUNK = 1 << 20  # positions asked at once: u, buckets and answers never exist for all of a large d


def checked(positions: Positions, d: int) -> Positions:
    """`positions` as int64, if they are sorted, unique and in [0, d). ValueError otherwise: the caller has a bug."""
    positions = np.ascontiguousarray(positions, np.int64)
    if len(positions) and (positions[0] < 0 or positions[-1] >= d or not (positions[1:] > positions[:-1]).all()):
        raise ValueError(f"positions are not sorted, unique and in [0, {d})")
    return positions


def scan(members: Callable[[int, int], npt.NDArray[np.bool_]], d: int, chunk: int = CHUNK) -> Positions:
    """All positions in [0, d) where `members(start, stop)` is true, asked in chunks."""
    starts = range(0, d, chunk)
    parts = [np.flatnonzero(members(start, min(d, start + chunk))) + start for start in starts]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)
