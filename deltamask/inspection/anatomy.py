"""One payload taken apart: which bytes are header, fields, filter slots, body or padding, and what each byte means.

Reads bytes only; needs no torch. Whatever the bytes, the only exception is DecodeError.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

import deltamask.heads  # noqa: F401  registers the kinds of its messages
from deltamask.codecs import Codec, DecodeError, bloom, codecs
from deltamask.codecs.base import CodecContext, ShowsFlips
from deltamask.codecs.bfuse import FuseFilter
from deltamask.codecs.wire import png
from deltamask.codecs.wire.message import HEADER, HEADER_BYTES, KINDS, Field, Kind
from deltamask.codecs.xor import XorFilter
from deltamask.inspection.filter_lookup import Filter, HasFilter
from deltamask.masking.masks import Positions

D_OFFSET = 12  # of the header's field d
MAX_PIXELS = 1 << 26  # no more than this is inflated for flips, and 2²⁴ more for a classifier head

HEADER_FIELDS = (
    Field("magic", 2, "“DM”: a message of this package"),
    Field("version", 1, "of the wire format"),
    Field("kind", 1, "what the body holds"),
    Field("round", 4, "the round it belongs to"),
    Field("client", 4, "the sender's number"),
    Field("d", 8, "how many positions there are"),
    Field("CRC-32", 4, "checksum over all other bytes"),
)


@dataclass(frozen=True)
class Section:
    """Consecutive bytes [start, stop) of a message that mean one thing. role: header, field, slots, body or padding."""

    name: str
    role: str
    start: int
    stop: int
    about: str


@dataclass(frozen=True)
class Anatomy:
    """A payload taken apart.

    is_picture: it travels as a PNG whose pixels are the message and zeros that fill the last row. Otherwise the payload
    is the message itself, and width and height only say how it is drawn. pixels: the message and its padding, row by
    row. filter: None for kinds that are no filter.
    """

    payload: bytes
    kind: str
    is_picture: bool
    pixels: bytes
    width: int
    height: int
    sections: tuple[Section, ...]
    filter: Filter | None

    @property
    def message(self) -> bytes:
        """The pixels without the padding of the last row."""
        return self.pixels[: self.section("padding").start]

    def section(self, name: str) -> Section:
        """The section of this name. KeyError if there is none."""
        return {section.name: section for section in self.sections}[name]

    @property
    def slots(self) -> Section | None:
        """The bytes of the filter's slots; None for kinds that are no filter."""
        return next((section for section in self.sections if section.role == "slots"), None)

    @property
    def slot_bytes(self) -> int:
        """Bytes in a fingerprint; 1 for a Bloom filter, whose bytes hold eight slots each."""
        return self.filter.fingerprints.itemsize if isinstance(self.filter, FuseFilter | XorFilter) else 1


@dataclass(frozen=True)
class ByteMeaning:
    """What one byte is. slots: the first and last slot of the filter that it holds or is part of. text: for a page."""

    offset: int
    value: int
    section: Section
    slots: tuple[int, int] | None
    text: str


def take_apart(payload: bytes, context: CodecContext) -> Anatomy:
    """The parts of a payload of `context`'s round and client. Raises DecodeError.

    Filters are parsed by their codec, which checks every field. Of other kinds only the header's size and kind are
    checked: their codec decides whether they decode.
    """
    is_picture = payload[:8] == png.SIGNATURE
    if is_picture:
        pixels, (height, width) = png.read(payload, max_pixels=min(8 * context.d, MAX_PIXELS) + (1 << 24))
    else:
        height, width = png.shape(len(payload))
        pixels = payload.ljust(height * width, b"\0")
    if len(pixels) < HEADER_BYTES or (not is_picture and len(payload) < HEADER_BYTES):
        raise DecodeError(f"{len(pixels)} bytes are too few for a header of {HEADER_BYTES}")
    _, _, number, *_ = HEADER.unpack_from(pixels)
    kind = next((name for name, kind in KINDS.items() if kind.number == number), None)
    if kind is None:
        raise DecodeError(f"kind {number} is unknown; there are {', '.join(KINDS)}")
    filter = _filter(kind, payload, context)
    body = _body_bytes(kind, pixels, len(payload), is_picture, filter)
    sections = _sections(KINDS[kind], body, len(pixels), filter)
    return Anatomy(payload, kind, is_picture, pixels, width, height, sections, filter)


def _codec(kind: str) -> Codec | None:
    """The codec of this name; None for kinds that are no set of flips."""
    if kind not in codecs:
        return None
    return codecs[kind]


def _filter(kind: str, payload: bytes, context: CodecContext) -> Filter | None:
    codec = _codec(kind)
    return codec.filter_of(payload, context) if isinstance(codec, HasFilter) else None


def _body_bytes(kind: str, pixels: bytes, payload_bytes: int, is_picture: bool, filter: Filter | None) -> int:
    """Length of the body, without the picture's padding. Fields of filters have been checked by their codec."""
    if not is_picture:
        return payload_bytes - HEADER_BYTES
    if isinstance(filter, bloom.BloomFilter):
        m, _, judged = bloom.FIELDS.unpack_from(pixels, HEADER_BYTES)
        return bloom.FIELDS.size - (-m // 8) - (-judged // 8)
    if filter is not None:
        return sum(field.bytes for field in KINDS[kind].fields) + filter.fingerprints.nbytes
    rest = len(pixels) - HEADER_BYTES
    if KINDS[kind].dtype:
        (count,) = struct.unpack_from("<Q", pixels, D_OFFSET)
        return min(np.dtype(KINDS[kind].dtype).itemsize * count, rest)
    return rest


def _sections(kind: Kind, body: int, pixels: int, filter: Filter | None) -> tuple[Section, ...]:
    sections: list[Section] = []
    at, end = 0, HEADER_BYTES + body

    def add(name: str, role: str, length: int, about: str) -> None:
        nonlocal at
        stop = min(at + length, end)
        if stop > at:
            sections.append(Section(name, role, at, stop, about))
        at = stop

    for field in HEADER_FIELDS:
        add(field.name, "header", field.bytes, field.about)
    for field in kind.fields:
        add(field.name, "field", field.bytes, field.about)
    if isinstance(filter, bloom.BloomFilter):
        add("filter bits", "slots", len(filter.bits), "a position asks several bits; all must be set")
    elif filter is not None:
        about = "a position asks three; their XOR must be its own"
        add("fingerprints", "slots", filter.fingerprints.nbytes, about)
    add(kind.body, "body", end, kind.about)
    sections.append(Section("padding", "padding", end, pixels, "zeros that fill the last row"))
    return tuple(sections)


def meaning(anatomy: Anatomy, offset: int) -> ByteMeaning:
    """What the byte at `offset` of the pixels is. IndexError outside of them."""
    if not 0 <= offset < len(anatomy.pixels):
        raise IndexError(f"byte {offset} of {len(anatomy.pixels)}")
    section = next(part for part in anatomy.sections if part.start <= offset < part.stop)
    value, inside = anatomy.pixels[offset], offset - section.start
    slots: tuple[int, int] | None = None
    if section.role == "slots":
        slots, text = _slot_meaning(anatomy, section, offset)
    elif section.role in ("header", "field"):
        text = _field_meaning(anatomy, section, inside)
    elif section.role == "padding":
        text = "padding of the last row"
    elif KINDS[anatomy.kind].dtype:
        dtype = np.dtype(KINDS[anatomy.kind].dtype)
        width, start = dtype.itemsize, offset - inside % dtype.itemsize
        (number,) = np.frombuffer(anatomy.pixels.ljust(start + width, b"\0"), dtype, 1, start)
        text = f"byte {inside % width + 1} of {width} of value {inside // width:,} = {number:.6g}"
    else:
        text = f"byte {inside:,} of {section.name}"
    return ByteMeaning(offset, value, section, slots, text)


def _slot_meaning(anatomy: Anatomy, section: Section, offset: int) -> tuple[tuple[int, int], str]:
    """((first, last) slot, text) of a byte among the filter's slots."""
    inside, width = offset - section.start, anatomy.slot_bytes
    if isinstance(anatomy.filter, bloom.BloomFilter):
        first, last = 8 * inside, min(8 * inside + 7, anatomy.filter.m - 1)
        bits = f"{anatomy.pixels[offset]:08b}"[::-1]
        return (first, last), f"bits {first:,} to {last:,} of the filter, in this order: {bits}"
    slot = inside // width
    part = f", byte {inside % width + 1} of {width}" if width > 1 else ""
    is_empty = not any(anatomy.pixels[offset - inside % width :][:width])
    return (slot, slot), f"slot {slot:,} of {section.name}{part}" + (": 0, as empty slots are" if is_empty else "")


def _field_meaning(anatomy: Anatomy, section: Section, inside: int) -> str:
    """Text for byte `inside` of a field of the header or of the codec."""
    length = section.stop - section.start
    number = int.from_bytes(anatomy.pixels[section.start : section.stop], "little")
    shown = f"{number:#x}" if section.name in ("magic", "CRC-32", "seed") else f"{number:,}"
    if section.name == "kind":
        shown += f" ({anatomy.kind})"
    return f"{section.name} = {shown}" if length == 1 else f"byte {inside + 1} of {length} of {section.name} = {shown}"


def flips_in_byte(anatomy: Anatomy, positions: Positions, offset: int) -> Positions | None:
    """The flips with bits in the byte at `offset` of the body. None where no byte of the body belongs to single flips.

    positions: all flips that the message decodes to.
    """
    section = next(part for part in anatomy.sections if part.start <= offset < part.stop)
    codec = _codec(anatomy.kind)
    if section.role != "body" or not isinstance(codec, ShowsFlips):
        return None
    return codec.flips_in_byte(anatomy.message, positions, offset)


__all__ = ["Anatomy", "ByteMeaning", "Section", "flips_in_byte", "meaning", "take_apart"]
