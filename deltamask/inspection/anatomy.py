"""One payload taken apart: which bytes are header, fields, filter slots, body or padding, and what each byte means.

Reads bytes only; needs no torch. Whatever the bytes, the only exception is DecodeError.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from deltamask.codecs import DecodeError, bloom, codecs, rice
from deltamask.codecs.base import CodecContext
from deltamask.codecs.bfuse import FuseCodec, FuseFilter
from deltamask.codecs.bfuse_gated import GatedFuseCodec
from deltamask.codecs.bloom import BloomCodec
from deltamask.codecs.wire import png
from deltamask.codecs.wire.message import HEADER, HEADER_BYTES, KINDS
from deltamask.codecs.xor import XorCodec, XorFilter
from deltamask.inspection.filter_lookup import Filter
from deltamask.masking.masks import Positions

MAX_PIXELS = 1 << 26  # no more than this is inflated for flips, and 2²⁴ more for a classifier head

HEADER_FIELDS = (
    ("magic", 2, "“DM”: a message of this package"),
    ("version", 1, "of the wire format"),
    ("kind", 1, "what the body holds"),
    ("round", 4, "the round it belongs to"),
    ("client", 4, "the sender's number"),
    ("d", 8, "how many positions there are"),
    ("CRC-32", 4, "checksum over all other bytes"),
)
SEED = ("seed", 8, "of the hash: added to a position before it is mixed")
_FUSE = (SEED, ("segment length", 4, "slots in a segment, a power of two"), ("segment count", 4, "segments, less two"))
BODY_FIELDS: dict[str, tuple[tuple[str, int, str], ...]] = {
    **dict.fromkeys(("bfuse8", "bfuse16", "bfuse32"), _FUSE),
    **dict.fromkeys(
        ("bfuse8-gated", "bfuse16-gated"), (("gate", 2, "largest distance of a flip from θ_g, in 1/256 nat"), *_FUSE)
    ),
    **dict.fromkeys(("xor8", "xor16"), (SEED, ("block length", 4, "slots in each third"))),
    **dict.fromkeys(
        ("bloom", "bloom-p0"),
        (("m", 4, "bits of the filter"), ("hashes", 1, "bits that a position asks"), ("judged", 4, "verdicts of P0")),
    ),
    "rice": (("flips", 8, "how many follow"), ("k", 1, "low bits that a gap writes plainly")),
    "gap": (("scale", 2, "mean distance of a flip, 1/16 score unit"), ("amplitude", 2, "of the model's shape, 2⁻¹²")),
}  # fmt: skip
BODY_NAMES = {
    "rice": "gaps",
    "gap": "range-coded words",
    "mask": "range-coded words",
    "dense32": "float32 values",
    "theta16": "16-bit θ_g",
}


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
    kind = next((name for name, its_number in KINDS.items() if its_number == number), None)
    if kind is None:
        raise DecodeError(f"kind {number} is unknown; there are {', '.join(KINDS)}")
    filter = _filter(kind, payload, context)
    body = _body_bytes(kind, pixels, len(payload), is_picture, filter)
    sections = _sections(kind, body, len(pixels), filter)
    return Anatomy(payload, kind, is_picture, pixels, width, height, sections, filter)


def _filter(kind: str, payload: bytes, context: CodecContext) -> Filter | None:
    if kind not in codecs:
        return None
    match codecs[kind]:
        case FuseCodec() | XorCodec() as codec:
            return codec.parse(payload, context)
        case GatedFuseCodec() as codec:
            return codec.parse(payload, context)[1]
        case BloomCodec() as codec:
            return codec.parse(payload, context)[0]
    return None


def _body_bytes(kind: str, pixels: bytes, payload_bytes: int, is_picture: bool, filter: Filter | None) -> int:
    """Length of the body, without the picture's padding. Fields of filters have been checked by their codec."""
    if not is_picture:
        return payload_bytes - HEADER_BYTES
    most_bytes = len(pixels) - HEADER_BYTES
    if filter is not None and isinstance(filter, bloom.BloomFilter):
        m, _, judged = bloom.FIELDS.unpack_from(pixels, HEADER_BYTES)
        return bloom.FIELDS.size - (-m // 8) - (-judged // 8)
    if filter is not None:
        return sum(length for _, length, _ in BODY_FIELDS[kind]) + filter.fingerprints.nbytes
    if kind == "dense32":
        (values,) = struct.unpack_from("<Q", pixels, 12)
        return min(4 * values, most_bytes)
    return most_bytes


def _sections(kind: str, body: int, pixels: int, filter: Filter | None) -> tuple[Section, ...]:
    sections: list[Section] = []
    at, end = 0, HEADER_BYTES + body

    def add(name: str, role: str, length: int, about: str) -> None:
        nonlocal at
        stop = min(at + length, end)
        if stop > at:
            sections.append(Section(name, role, at, stop, about))
        at = stop

    for name, length, about in HEADER_FIELDS:
        add(name, "header", length, about)
    for name, length, about in BODY_FIELDS.get(kind, ()):
        add(name, "field", length, about)
    if isinstance(filter, bloom.BloomFilter):
        add("filter bits", "slots", len(filter.bits), "a position asks several bits; all must be set")
        add("verdicts", "body", end, "one bit a positive: is it a flip?")
    elif filter is not None:
        add(
            "fingerprints",
            "slots",
            filter.fingerprints.nbytes,
            "a position asks three; their XOR must be its own",
        )
    else:
        add(BODY_NAMES.get(kind, "body"), "body", end, _ABOUT_BODY.get(kind, "what the method sends"))
    sections.append(Section("padding", "padding", end, pixels, "zeros that fill the last row"))
    return tuple(sections)


_ABOUT_BODY = {
    "rice": "each gap to the next flip: its high part in unary, then k low bits",
    "gap": "range coding: every word depends on all positions that follow",
    "mask": "range coding: every word depends on all positions that follow",
    "dense32": "the classifier head, weights row by row, then biases",
    "theta16": "the mask probabilities, in units of 2⁻¹⁶",
}


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
    elif anatomy.kind == "dense32":
        start = offset - inside % 4
        (number,) = struct.unpack_from("<f", anatomy.pixels.ljust(start + 4, b"\0"), start)
        text = f"byte {inside % 4 + 1} of 4 of value {inside // 4:,} = {number:.6g}"
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


def rice_positions(anatomy: Anatomy, positions: Positions, offset: int) -> Positions:
    """The flips whose gaps have bits in the byte at `offset` of a `rice` message. positions: all it decodes to."""
    body = anatomy.section("gaps")
    k = rice.FIELDS.unpack_from(anatomy.pixels, HEADER_BYTES)[1]
    ends = np.cumsum(((np.diff(positions, prepend=-1) - 1) >> k) + 1 + k)
    first_bit, last_bit = 8 * (offset - body.start), 8 * (offset - body.start) + 7
    first = int(np.searchsorted(ends, first_bit, side="right"))  # the first gap that ends behind `first_bit`
    last = int(np.searchsorted(ends, last_bit, side="right"))
    return positions[first : last + 1]


__all__ = ["Anatomy", "ByteMeaning", "Section", "meaning", "rice_positions", "take_apart"]
