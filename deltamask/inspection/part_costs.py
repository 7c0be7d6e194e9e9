"""What each part of a payload costs in the file, to the bit: PNG frame, header, fields, slots, body, padding."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deltamask.codecs.bloom import BloomFilter
from deltamask.inspection.anatomy import Anatomy, Section
from deltamask.inspection.deflate_costs import ZLIB_BITS, byte_costs

PNG_FRAME_BYTES = 8 + 3 * 12 + 13  # signature, three chunks' length, name and CRC, IHDR's data
IDAT_START = 8 + 25 + 8  # where IDAT's data begins


@dataclass(frozen=True)
class PartCost:
    """One part of a payload. message_bytes: how many bytes of the message it is. bits: what it takes in the file."""

    name: str
    message_bytes: int
    bits: float


def part_costs(anatomy: Anatomy) -> list[PartCost]:
    """The parts that take any bits, in the order of the file. Their bits add up to 8·len(payload)."""
    bits = pixel_bits(anatomy)
    header = _cost("our header", [part for part in anatomy.sections if part.role == "header"], bits)
    fields = _cost("fields of the code", [part for part in anatomy.sections if part.role == "field"], bits)
    rest = [_cost(part.name, [part], bits) for part in anatomy.sections if part.role in ("body", "padding")]
    parts = [header, fields, *_slot_costs(anatomy, bits), *rest]
    if anatomy.is_picture:
        around = 8 * len(anatomy.payload) - sum(part.bits for part in parts)
        frame = 8 * PNG_FRAME_BYTES + ZLIB_BITS
        parts = [PartCost("PNG frame", 0, frame), PartCost("Huffman tables, row starts", 0, around - frame), *parts]
    return [part for part in parts if part.bits]


def pixel_bits(anatomy: Anatomy) -> npt.NDArray[np.float64]:
    """Bits that each pixel takes in the file: those of its DEFLATE codes, or 8 where the message is sent as it is."""
    if not anatomy.is_picture:
        return np.where(np.arange(len(anatomy.pixels)) < len(anatomy.payload), 8.0, 0.0)
    (length,) = struct.unpack_from(">I", anatomy.payload, IDAT_START - 8)
    inflated_bytes = anatomy.height * (anatomy.width + 1)  # each row starts with its filter type
    costs, _ = byte_costs(anatomy.payload[IDAT_START : IDAT_START + length], inflated_bytes)
    return np.ascontiguousarray(costs.reshape(anatomy.height, anatomy.width + 1)[:, 1:]).reshape(-1)


def _slot_costs(anatomy: Anatomy, bits: npt.NDArray[np.float64]) -> list[PartCost]:
    """The filter's slots, those in use and those that hold 0; nothing for kinds that are no filter."""
    if anatomy.slots is None:
        return []
    where = slice(anatomy.slots.start, anatomy.slots.stop)
    slots = np.frombuffer(anatomy.pixels[where], np.uint8).reshape(-1, anatomy.slot_bytes)
    slot_bits = bits[where].reshape(-1, anatomy.slot_bytes).sum(axis=1)
    used = slots.any(axis=1)
    unit = "filter bytes" if isinstance(anatomy.filter, BloomFilter) else "slots"
    return [
        PartCost(f"{unit} in use", int(slots[used].size), float(slot_bits[used].sum())),
        PartCost(f"{unit} that hold 0", int(slots[~used].size), float(slot_bits[~used].sum())),
    ]


def _cost(name: str, sections: list[Section], bits: npt.NDArray[np.float64]) -> PartCost:
    return PartCost(
        name,
        sum(section.stop - section.start for section in sections),
        float(sum(bits[section.start : section.stop].sum() for section in sections)),
    )
