"""Break a payload on purpose: change a byte, repair the checksums or not, and see what a server makes of it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from deltamask.codecs import DecodeError
from deltamask.codecs.wire import png
from deltamask.codecs.wire.message import HEADER_BYTES
from deltamask.inspection.anatomy import Glass
from deltamask.masking.masks import Positions

CRC = slice(HEADER_BYTES - 4, HEADER_BYTES)


def change_pixel(glass: Glass, offset: int, value: int, *, repair: bool) -> bytes:
    """The payload with one byte of its message (or of the padding) changed, and packed again into its container.

    repair: write the message's own checksum anew, so that only the meaning of the byte can give it away.
    """
    pixels = bytearray(glass.pixels if glass.picture else glass.payload)
    pixels[offset] = value
    if repair:
        end = glass.section("padding").start if glass.picture else len(pixels)
        body = memoryview(pixels)[HEADER_BYTES:end]
        pixels[CRC] = struct.pack("<I", zlib.crc32(body, zlib.crc32(pixels[: CRC.start])))
    return png.write(bytes(pixels)) if glass.picture else bytes(pixels)


def change_file(payload: bytes, offset: int, value: int, *, repair: bool) -> bytes:
    """The file with one of its bytes changed. repair: write the checksums of a PNG's chunks anew."""
    broken = bytearray(payload)
    broken[offset] = value
    at = len(png.SIGNATURE)
    while repair and payload[:at] and at + 12 <= len(broken):
        (length,) = struct.unpack_from(">I", broken, at)
        end = at + 8 + length
        if end + 4 > len(broken):
            break
        struct.pack_into(">I", broken, end, zlib.crc32(broken[at + 4 : end]))
        at = end + 4
    return bytes(broken)


@dataclass(frozen=True)
class Verdict:
    """What a server makes of a changed payload. refused: the decoder's message. gained, lost: flips, against before."""

    refused: str | None
    gained: Positions
    lost: Positions

    @property
    def mask_bits(self) -> int:
        """How many bits of the client's mask come out wrong."""
        return len(self.gained) + len(self.lost)


def judge(broken: bytes, decode: Callable[[bytes], Positions], before: Positions) -> Verdict:
    """Decode a changed payload as a server does. before: what the untouched one decodes to."""
    try:
        after = decode(broken)
    except DecodeError as error:
        nothing = np.zeros(0, np.int64)
        return Verdict(str(error), nothing, nothing)
    gained, lost = np.setdiff1d(after, before, assume_unique=True), np.setdiff1d(before, after, assume_unique=True)
    return Verdict(None, gained, lost)
