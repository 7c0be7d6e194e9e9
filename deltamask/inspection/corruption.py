"""Change a byte of a payload, with or without repairing the checksums, and see what a server decodes from it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from deltamask.codecs import DecodeError
from deltamask.codecs.wire import png
from deltamask.codecs.wire.message import HEADER_BYTES
from deltamask.inspection.anatomy import Anatomy
from deltamask.masking.masks import Positions

CRC = slice(HEADER_BYTES - 4, HEADER_BYTES)


class Change(NamedTuple):
    """One byte of the message (or of its padding) to change. repair: write the message's checksum anew."""

    offset: int
    value: int
    repair: bool


@dataclass(frozen=True)
class CorruptionEffect:
    """What a server makes of a changed payload.

    refused: the decoder's message, or None if the payload is accepted. gained, lost: flips compared with before.
    """

    refused: str | None
    gained: Positions
    lost: Positions

    @property
    def wrong_mask_bits(self) -> int:
        """How many bits of the client's mask the server gets wrong."""
        return len(self.gained) + len(self.lost)


def change_message(anatomy: Anatomy, change: Change) -> bytes:
    """The payload with one byte of its message (or of the padding) changed, packed again into its container.

    With the checksum repaired only the meaning of the changed byte can give it away.
    """
    pixels = bytearray(anatomy.pixels if anatomy.is_picture else anatomy.payload)
    pixels[change.offset] = change.value
    if change.repair:
        end = anatomy.section("padding").start if anatomy.is_picture else len(pixels)
        body = memoryview(pixels)[HEADER_BYTES:end]
        pixels[CRC] = struct.pack("<I", zlib.crc32(body, zlib.crc32(pixels[: CRC.start])))
    return png.write(bytes(pixels)) if anatomy.is_picture else bytes(pixels)


def change_file(payload: bytes, offset: int, value: int, *, repair: bool) -> bytes:
    """The file with one of its bytes changed. repair: write the checksums of a PNG's chunks anew."""
    changed = bytearray(payload)
    changed[offset] = value
    start = len(png.SIGNATURE)
    while repair and start + 12 <= len(changed):
        (length,) = struct.unpack_from(">I", changed, start)
        end = start + 8 + length
        if end + 4 > len(changed):
            break
        struct.pack_into(">I", changed, end, zlib.crc32(changed[start + 4 : end]))
        start = end + 4
    return bytes(changed)


def effect_of(changed: bytes, decode: Callable[[bytes], Positions], before: Positions) -> CorruptionEffect:
    """Decode a changed payload as a server does. before: what the untouched payload decodes to."""
    try:
        after = decode(changed)
    except DecodeError as error:
        none = np.zeros(0, np.int64)
        return CorruptionEffect(str(error), none, none)
    gained, lost = np.setdiff1d(after, before, assume_unique=True), np.setdiff1d(before, after, assume_unique=True)
    return CorruptionEffect(None, gained, lost)


def examples(anatomy: Anatomy) -> dict[str, Change]:
    """Changes worth trying on this payload, by what they are called."""
    pixels, sections = anatomy.pixels, {section.name: section for section in anatomy.sections}
    offset = min(_first_used_byte(anatomy), len(pixels) - 1)
    changes = {
        "Flip one bit": Change(offset, pixels[offset] ^ 1, False),
        "… and repair the checksum": Change(offset, pixels[offset] ^ 1, True),
    }
    if "seed" in sections:
        seed = sections["seed"].start
        changes["Another seed, repaired"] = Change(seed, pixels[seed] ^ 1, True)
    client = sections["client"].start
    changes["Speak for another client, repaired"] = Change(client, (pixels[client] + 1) % 256, True)
    return changes


def _first_used_byte(anatomy: Anatomy) -> int:
    """The first byte of a slot in use, or of the body where there are no slots."""
    slots = anatomy.slots
    if slots is None:
        return HEADER_BYTES
    used = (offset for offset in range(slots.start, slots.stop) if anatomy.pixels[offset])
    return next(used, slots.stop - 1)
