"""The header of every message, its checksum, and the one exception of decoders (`docs/wire.md`)."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import NamedTuple


class DecodeError(ValueError):
    """These bytes are not a valid payload for this context. The only exception a decoder raises."""


MAGIC = b"DM"
VERSION = 1
HEADER = struct.Struct("<2sBBIIQI")  # magic, version, kind, round, client, d, CRC-32 of all other bytes
HEADER_BYTES = HEADER.size
_CRC_OFFSET = HEADER_BYTES - 4


class Field(NamedTuple):
    """A number at the start of a body, little-endian. bytes: its width. about: what it means, for people."""

    name: str
    bytes: int
    about: str


@dataclass(frozen=True)
class Kind:
    """A kind of message. number: on the wire. The rest says what the Wire page calls the bytes of its body.

    fields: those that open the body. body: what follows them (in a filter: what follows its slots). about: how that is
    coded. dtype: NumPy's name of the numbers that the body consists of, if it is nothing but d numbers.
    """

    number: int
    fields: tuple[Field, ...] = ()
    body: str = "body"
    about: str = "what the method sends"
    dtype: str = ""


KINDS: dict[str, Kind] = {}


def register_kind(
    name: str,
    number: int,
    *,
    fields: tuple[Field, ...] = (),
    body: str = "body",
    about: str = "what the method sends",
    dtype: str = "",
) -> None:
    """Give a kind of message its number, 1 to 255: part of the wire format, never used again for anything else.

    1 to 127 are this package's, 128 to 255 are free for others. The rest as in `Kind`. ValueError if name or number
    belongs to another kind; the same pair may be registered again, as a notebook's cell does when it is run twice.
    """
    if not 1 <= number <= 255:
        raise ValueError(f"kind {name!r}: number {number} is out of range: 1 ≤ number ≤ 255")
    for other, kind in KINDS.items():
        if (other == name) != (kind.number == number):
            raise ValueError(f"kind {name!r}, number {number}: {other!r} has number {kind.number} already")
    KINDS[name] = Kind(number, fields, body, about, dtype)


def seal(kind: str, round: int, client: int, d: int, body: bytes) -> bytes:
    """Header and body as one message (`docs/wire.md`)."""
    head = HEADER.pack(MAGIC, VERSION, KINDS[kind].number, round, client, d, 0)[:_CRC_OFFSET]
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
    expectations = (("kind", kind_id, KINDS[kind].number), ("round", its_round, round), ("client", its_client, client))
    for name, got, expected in (*expectations, ("d", its_d, d)):
        if got != expected:
            raise DecodeError(f"{name} is {got}, expected {expected}")
    body = view[HEADER_BYTES:]
    if crc != zlib.crc32(body, zlib.crc32(view[:_CRC_OFFSET])):
        raise DecodeError("checksum does not match: the message was damaged")
    return body
