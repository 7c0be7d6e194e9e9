"""A gate for the paper's filter: the same picture, two bytes more, and most false flips gone.

A flip happens exactly when u lies between θ_g and θ_k, and an optimiser moves scores only so far. The client adds the
largest distance |logit u − logit θ_g| among its flips, and the server asks the filter only about positions inside it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from deltamask.codecs import side_information
from deltamask.codecs.base import CHUNK, CodecContext, checked, codecs, scan
from deltamask.codecs.bfuse import (
    FIELDS,
    KIND_FIELDS,
    FuseFilter,
    build,
    fingerprint_bytes,
    members,
    most_bytes,
    pack,
    unpack,
)
from deltamask.codecs.wire import png
from deltamask.codecs.wire.message import Field, register_kind, seal, unseal
from deltamask.masking.masks import Positions

GATE = struct.Struct("<H")  # largest distance of a flip, in 1/256 nat
GATED_FIELDS = struct.Struct("<H" + FIELDS.format.lstrip("<"))


@dataclass(frozen=True)
class GatedFuseCodec:
    """`bfuse{width}-gated`: gate, filter fields and fingerprints as the pixels of a grayscale PNG."""

    width: int
    exact: bool = False
    suffix: str = ".png"
    false_positive_rate: None = None  # 2^-width, but only inside the gate

    @property
    def name(self) -> str:
        return f"bfuse{self.width}-gated"

    def encode(self, positions: Positions, context: CodecContext) -> bytes:
        positions = checked(positions, context.d)
        body = GATE.pack(farthest(positions, context)) + pack(build(positions, self.width))
        return png.write(seal(self.name, context.round, context.client, context.d, body))

    def decode(self, payload: bytes, context: CodecContext) -> Positions:
        gate, filter = self.parse(payload, context)
        return scan(
            lambda start, stop: (
                members(filter, start, stop) & (side_information.distances(context, start, stop) <= gate)
            ),
            context.d,
        )

    def parse(self, payload: bytes, context: CodecContext) -> tuple[int, FuseFilter]:
        """(gate in 1/256 nat, filter), every field checked. Raises DecodeError."""
        d = context.d
        body_bytes = fingerprint_bytes(self.width)
        message = png.read_fields(
            payload, GATED_FIELDS, most_bytes(d, self.width) + GATE.size, lambda gate, *fields: body_bytes(*fields)
        )
        body = unseal(message, self.name, context.round, context.client, d)
        (gate,) = GATE.unpack_from(body)
        return gate, unpack(body[GATE.size :], self.width)

    def filter_of(self, payload: bytes, context: CodecContext) -> FuseFilter:
        """The filter inside a payload, every field checked. Raises DecodeError."""
        return self.parse(payload, context)[1]


def farthest(positions: Positions, context: CodecContext) -> int:
    """The largest distance among `positions`, in 1/256 nat; 0 if there are none."""
    gate = 0
    for start in range(0, context.d, CHUNK):
        stop = min(context.d, start + CHUNK)
        low, high = np.searchsorted(positions, (start, stop))
        if low < high:
            gate = max(gate, int(side_information.distances(context, start, stop)[positions[low:high] - start].max()))
    return gate


_KIND_FIELDS = (Field("gate", 2, "largest distance of a flip from θ_g, in 1/256 nat"), *KIND_FIELDS)
for _width, _number in ((8, 24), (16, 25)):
    register_kind(f"bfuse{_width}-gated", _number, fields=_KIND_FIELDS)
    codecs.register(f"bfuse{_width}-gated")(GatedFuseCodec(_width))
