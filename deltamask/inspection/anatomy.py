"""One payload under the glass: what every byte of it is, what it cost, and, in a filter, who asks for it.

Reads bytes only; needs no torch. Whatever the bytes, the only exception is DecodeError.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deltamask.codecs import DecodeError, bloom, codecs, rice
from deltamask.codecs.base import CodecContext
from deltamask.codecs.bfuse import FuseCodec, FuseFilter
from deltamask.codecs.bfuse_gated import GatedFuseCodec
from deltamask.codecs.bloom import BloomCodec
from deltamask.codecs.wire import png
from deltamask.codecs.wire.message import HEADER, HEADER_BYTES, KINDS
from deltamask.codecs.xor import XorCodec, XorFilter
from deltamask.inspection.deflate_costs import ZLIB_BITS, byte_costs
from deltamask.inspection.filter_lookup import Filter
from deltamask.masking.masks import Positions

KIND_NAMES = {number: name for name, number in KINDS.items()}
MAX_PIXELS = 1 << 26  # a viewer inflates no more than this for flips, and 2²⁴ for a head
PNG_FRAME = 8 + 3 * 12 + 13  # signature, three chunks' length, name and CRC, IHDR's data
PNG_IDAT = 8 + 25 + 8  # where IDAT's data begins

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
class Glass:
    """A payload taken apart.

    picture: does it travel as a PNG, whose pixels are `message` and zeros that fill the last row? Otherwise the message
    is the payload, and width and height only say how it is drawn. filter: for kinds that are one.
    """

    payload: bytes
    kind: str
    picture: bool
    pixels: bytes
    width: int
    height: int
    sections: tuple[Section, ...]
    filter: Filter | None

    @property
    def message(self) -> bytes:
        """Without the padding of the last row."""
        return self.pixels[: self.section("padding").start]

    def section(self, name: str) -> Section:
        """The section called so. KeyError if there is none."""
        return {section.name: section for section in self.sections}[name]

    @property
    def slots(self) -> Section | None:
        """The bytes that a position may ask for."""
        return next((section for section in self.sections if section.role == "slots"), None)

    @property
    def slot_bytes(self) -> int:
        """Bytes in a fingerprint; 1 for a Bloom filter, whose bytes hold eight slots each."""
        return self.filter.fingerprints.itemsize if isinstance(self.filter, FuseFilter | XorFilter) else 1


@dataclass(frozen=True)
class Meaning:
    """What one byte is. slots: (first, last) that it holds or is part of, in a filter. text: for people."""

    offset: int
    value: int
    section: Section
    slots: tuple[int, int] | None
    text: str


@dataclass(frozen=True)
class Share:
    """One kind of byte in a payload: how many of it the message has, and what they cost in the file, in bits."""

    name: str
    message_bytes: int
    bits: float


def look(payload: bytes, context: CodecContext) -> Glass:
    """Take apart a payload of `context`'s round and client. Raises DecodeError.

    Filters are parsed by their codec, which checks every field. Kinds that are no filter get only their header checked
    here; whether they decode is the codec's to say.
    """
    picture = payload[:8] == png.SIGNATURE
    if picture:
        pixels, (height, width) = png.read(payload, max_pixels=min(8 * context.d, MAX_PIXELS) + (1 << 24))
    else:
        height, width = png.shape(len(payload))
        pixels = payload.ljust(height * width, b"\0")
    if len(pixels) < HEADER_BYTES or (not picture and len(payload) < HEADER_BYTES):
        raise DecodeError(f"{len(pixels)} bytes are too few for a header of {HEADER_BYTES}")
    _, _, number, *_ = HEADER.unpack_from(pixels)
    kind = KIND_NAMES.get(number)
    if kind is None:
        raise DecodeError(f"kind {number} is unknown; there are {KIND_NAMES}")
    filter = _filter(kind, payload, context)
    body = _body_bytes(kind, pixels, len(payload), picture, filter)
    return Glass(payload, kind, picture, pixels, width, height, _sections(kind, body, len(pixels), filter), filter)


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


def _body_bytes(kind: str, pixels: bytes, payload_bytes: int, picture: bool, filter: Filter | None) -> int:
    """Length of the body, without the picture's padding. Fields of filters have been checked by their codec."""
    if not picture:
        return payload_bytes - HEADER_BYTES
    most = len(pixels) - HEADER_BYTES
    if filter is not None and isinstance(filter, bloom.BloomFilter):
        m, _, judged = bloom.FIELDS.unpack_from(pixels, HEADER_BYTES)
        return bloom.FIELDS.size - (-m // 8) - (-judged // 8)
    if filter is not None:
        return sum(length for _, length, _ in BODY_FIELDS[kind]) + filter.fingerprints.nbytes
    if kind == "dense32":
        (values,) = struct.unpack_from("<Q", pixels, 12)
        return min(4 * values, most)
    return most


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
        add("fingerprints", "slots", filter.fingerprints.nbytes, "a position asks three; their XOR must be its own")
    else:
        add(BODY_NAMES.get(kind, "body"), "body", end, _ABOUT_BODY.get(kind, "what the method sends"))
    sections.append(Section("padding", "padding", end, pixels, "zeros that fill the last row"))
    return tuple(sections)


_ABOUT_BODY = {
    "rice": "each gap to the next flip: its high part in unary, then k low bits",
    "gap": "range coding: every word speaks of all positions that are still to come",
    "mask": "range coding: every word speaks of all positions that are still to come",
    "dense32": "the classifier head, weights row by row, then biases",
    "theta16": "the mask probabilities, in units of 2⁻¹⁶",
}


def meaning(glass: Glass, offset: int) -> Meaning:
    """What the byte at `offset` of the pixels is. IndexError outside of them."""
    if not 0 <= offset < len(glass.pixels):
        raise IndexError(f"byte {offset} of {len(glass.pixels)}")
    section = next(part for part in glass.sections if part.start <= offset < part.stop)
    value, inside = glass.pixels[offset], offset - section.start
    slots: tuple[int, int] | None = None
    if section.role == "slots":
        if isinstance(glass.filter, bloom.BloomFilter):
            slots = 8 * inside, min(8 * inside + 7, glass.filter.m - 1)
            text = f"bits {slots[0]:,} to {slots[1]:,} of the filter, in this order: {f'{value:08b}'[::-1]}"
        else:
            slots = (inside // glass.slot_bytes,) * 2
            part = f", byte {inside % glass.slot_bytes + 1} of {glass.slot_bytes}" if glass.slot_bytes > 1 else ""
            empty = not any(glass.pixels[offset - inside % glass.slot_bytes :][: glass.slot_bytes])
            text = f"slot {slots[0]:,} of {section.name}{part}" + (": 0, as empty slots are" if empty else "")
    elif section.role in ("header", "field"):
        length = section.stop - section.start
        whole = int.from_bytes(glass.pixels[section.start : section.stop], "little")
        shown = f"{whole:#x}" if section.name in ("magic", "CRC-32", "seed") else f"{whole:,}"
        if section.name == "kind":
            shown += f" ({glass.kind})"
        text = (
            f"{section.name} = {shown}" if length == 1 else f"byte {inside + 1} of {length} of {section.name} = {shown}"
        )
    elif section.role == "padding":
        text = "padding of the last row"
    elif glass.kind == "dense32":
        start = offset - inside % 4
        (number,) = struct.unpack_from("<f", glass.pixels.ljust(start + 4, b"\0"), start)
        text = f"byte {inside % 4 + 1} of 4 of value {inside // 4:,} = {number:.6g}"
    else:
        text = f"byte {inside:,} of {section.name}"
    return Meaning(offset, value, section, slots, text)


def rice_positions(glass: Glass, positions: Positions, offset: int) -> Positions:
    """The flips whose gaps have bits in the byte at `offset` of a `rice` message. positions: all it decodes to."""
    body = glass.section("gaps")
    k = rice.FIELDS.unpack_from(glass.pixels, HEADER_BYTES)[1]
    ends = np.cumsum(((np.diff(positions, prepend=-1) - 1) >> k) + 1 + k)
    first, last = 8 * (offset - body.start), 8 * (offset - body.start) + 7
    low = int(np.searchsorted(ends, first, side="right"))  # the first gap that ends behind bit `first`
    high = int(np.searchsorted(ends, last, side="right"))
    return positions[low : high + 1]


def shares(glass: Glass) -> list[Share]:
    """Where the payload's bytes go, to the bit; bits add up to 8·len(payload)."""
    costs = pixel_bits(glass)
    header = _sum("our header", [part for part in glass.sections if part.role == "header"], costs)
    fields = _sum("fields of the code", [part for part in glass.sections if part.role == "field"], costs)
    rest = [_sum(part.name, [part], costs) for part in glass.sections if part.role in ("body", "padding")]
    slots: list[Share] = []
    if glass.slots is not None:
        part = slice(glass.slots.start, glass.slots.stop)
        entry = np.frombuffer(glass.pixels[part], np.uint8).reshape(-1, glass.slot_bytes)
        bits = costs[part].reshape(-1, glass.slot_bytes).sum(axis=1)
        empty = ~entry.any(axis=1)
        what = "filter bytes" if isinstance(glass.filter, bloom.BloomFilter) else "slots"
        slots = [
            Share(f"{what} in use", int(entry[~empty].size), float(bits[~empty].sum())),
            Share(f"{what} that hold 0", int(entry[empty].size), float(bits[empty].sum())),
        ]
    found = [header, fields, *slots, *rest]
    if glass.picture:
        around = 8 * len(glass.payload) - sum(share.bits for share in found)
        frame = 8 * PNG_FRAME + ZLIB_BITS
        found = [
            Share("PNG frame", 0, frame),
            Share("Huffman tables, row starts", 0, around - frame),
            *found,
        ]
    return [share for share in found if share.bits]


def pixel_bits(glass: Glass) -> npt.NDArray[np.float64]:
    """Bits that each pixel takes in the file: 8 without a picture, else what DEFLATE made of it."""
    if not glass.picture:
        return np.where(np.arange(len(glass.pixels)) < len(glass.payload), 8.0, 0.0)
    (length,) = struct.unpack_from(">I", glass.payload, PNG_IDAT - 8)
    rows = glass.height * (glass.width + 1)
    costs, _ = byte_costs(glass.payload[PNG_IDAT : PNG_IDAT + length], rows)
    return np.ascontiguousarray(costs.reshape(glass.height, glass.width + 1)[:, 1:]).reshape(-1)


def _sum(name: str, parts: list[Section], costs: npt.NDArray[np.float64]) -> Share:
    return Share(
        name,
        sum(part.stop - part.start for part in parts),
        float(sum(costs[part.start : part.stop].sum() for part in parts)),
    )


__all__ = ["Glass", "Meaning", "Section", "Share", "look", "meaning", "pixel_bits", "rice_positions", "shares"]
