"""The picture: a message as one 8-bit grayscale PNG, near-square, its pixels the message's bytes and nothing else.

The writer uses the plainest PNG there is (IHDR, IDAT, IEND, no row filter), and the reader takes only that, so that a
hostile file has no room: no other chunk, no other mode, no allocation before the dimensions have been checked.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable

from deltamask.codecs.wire.message import HEADER_BYTES, DecodeError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_IHDR = struct.Struct(">IIBBBBB")
_GRAY8 = (8, 0, 0, 0, 0)  # bit depth, colour type, compression, filter method, interlace


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


def shape(count: int) -> tuple[int, int]:
    """(height, width) of the near-square picture that holds `count` bytes; the last row is padded with zeros."""
    width = max(1, math.isqrt(max(0, count - 1)) + 1)
    return max(1, -(-count // width)), width


def write(message: bytes) -> bytes:
    """A PNG whose pixels, row by row, are `message` followed by zeros up to the rectangle."""
    height, width = shape(len(message))
    padded = message.ljust(height * width, b"\0")
    rows = b"".join(b"\0" + padded[start : start + width] for start in range(0, height * width, width))
    # Fingerprints repeat nothing but their empty slots: Huffman coding alone is 2.7 % smaller than matching as well.
    deflate = zlib.compressobj(level=6, strategy=zlib.Z_HUFFMAN_ONLY)
    data = deflate.compress(rows) + deflate.flush()
    header = _IHDR.pack(width, height, *_GRAY8)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def read(payload: bytes, max_pixels: int) -> tuple[bytes, tuple[int, int]]:
    """(pixels, (height, width)). DecodeError for anything `write` does not make or above `max_pixels`."""
    view = memoryview(payload)
    if bytes(view[:8]) != SIGNATURE:
        raise DecodeError("not a PNG: wrong signature")
    chunks: list[tuple[bytes, memoryview]] = []
    at = 8
    while at < len(view):
        if len(view) - at < 12:
            raise DecodeError("PNG ends inside a chunk")
        (length,) = struct.unpack_from(">I", view, at)
        kind = bytes(view[at + 4 : at + 8])
        if length > len(view) - at - 12:
            raise DecodeError(f"PNG chunk {kind!r} says {length} bytes, {len(view) - at - 12} are left")
        data = view[at + 8 : at + 8 + length]
        if struct.unpack_from(">I", view, at + 8 + length)[0] != zlib.crc32(data, zlib.crc32(kind)):
            raise DecodeError(f"PNG chunk {kind!r} is damaged: checksum does not match")
        chunks.append((kind, data))
        at += 12 + length
        if len(chunks) > 3:
            break
    kinds = [kind for kind, _ in chunks]
    if kinds != [b"IHDR", b"IDAT", b"IEND"] or len(chunks[0][1]) != _IHDR.size or len(chunks[2][1]):
        raise DecodeError(f"PNG chunks are {[kind.decode('latin-1') for kind in kinds]}, expected IHDR, IDAT, IEND")
    width, height, *mode = _IHDR.unpack(chunks[0][1])
    if tuple(mode) != _GRAY8:
        raise DecodeError(f"PNG mode is {tuple(mode)}, expected 8-bit grayscale {_GRAY8}")
    if not 0 < width * height <= max_pixels:
        raise DecodeError(f"PNG of {width} × {height} pixels, at most {max_pixels} are possible here")
    expected = height * (width + 1)
    inflate = zlib.decompressobj()
    try:
        rows = inflate.decompress(chunks[1][1], expected)
        overrun = inflate.decompress(inflate.unconsumed_tail, 1)
    except zlib.error as error:
        raise DecodeError(f"PNG data does not inflate: {error}") from None
    if len(rows) != expected or overrun or not inflate.eof or inflate.unused_data:
        raise DecodeError(f"PNG data does not inflate to the {expected} bytes of a {width} × {height} picture")
    if any(rows[:: width + 1]):
        raise DecodeError("PNG uses row filters, which this format does not")
    pixels = b"".join(rows[start + 1 : start + 1 + width] for start in range(0, expected, width + 1))
    return pixels, (height, width)


def strip_padding(pixels: bytes, count: int, size: tuple[int, int]) -> bytes:
    """The first `count` pixels; the rest must be the zeros that `write` adds."""
    if size != shape(count) or any(pixels[count:]):
        raise DecodeError(f"picture of {size[0]} × {size[1]} pixels does not fit a message of {count} bytes")
    return pixels[:count]


def read_fields(payload: bytes, fields: struct.Struct, most: int, body_bytes: Callable[..., int]) -> bytes:
    """The message inside a picture whose length is only known from its own first fields.

    fields: what a body starts with. most: no valid message is longer, in bytes. body_bytes(*fields): what follows the
    fields, in bytes; it raises DecodeError for fields that cannot be. Nothing is checked against the header here:
    `unseal` the result.
    """
    pixels, size = read(payload, max_pixels=most + math.isqrt(most) + 2)  # the last row's padding
    start = HEADER_BYTES + fields.size
    if len(pixels) < start:
        raise DecodeError(f"picture of {len(pixels)} pixels is shorter than header and fields, {start}")
    length = start + body_bytes(*fields.unpack_from(pixels, HEADER_BYTES))
    if length > len(pixels):
        raise DecodeError(f"fields speak of {length} bytes, the picture has {len(pixels)} pixels")
    return strip_padding(pixels, length, size)
