"""`fp32` and `fp16`: the values themselves, in 32 bits or in 16."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from deltamask.codecs.updates.base import (
    DecodeError,
    UpdateContext,
    Vector,
    checked,
    finite,
    of_length,
    opened,
    sealed,
    updates,
)
from deltamask.codecs.wire.message import register_kind

EXPONENT = struct.Struct("<h")
TOP = 15  # a half reaches 65504, so values scaled below 2¹⁵ never overflow by rounding


@dataclass(frozen=True)
class Float32Codec:
    """Exact."""

    name: str = "fp32"
    unbiased: bool = True
    suffix: str = ".bin"

    def encode(self, values: Vector, context: UpdateContext) -> bytes:
        values = checked(values)
        return sealed(self.name, len(values), context, values.astype("<f4").tobytes())

    def decode(self, payload: bytes, n: int, context: UpdateContext) -> Vector:
        body = of_length(opened(payload, self.name, n, context), 4 * n)
        return finite(np.frombuffer(body, "<f4").astype(np.float32))


@dataclass(frozen=True)
class Float16Codec:
    """IEEE halves of 2^e·x, with the e that brings the largest value into [2¹⁴, 2¹⁵).

    Updates are small: as plain halves, values under 6·10⁻⁵ would lose their bits one by one. Two bytes for e keep
    eleven significant bits for everything down to 2⁻²⁸ of the largest value.
    """

    name: str = "fp16"
    unbiased: bool = False  # it rounds to nearest
    suffix: str = ".bin"

    def encode(self, values: Vector, context: UpdateContext) -> bytes:
        values = checked(values)
        _, exponent = np.frexp(np.abs(values).max(initial=0))
        e = TOP - int(exponent)
        halves = np.ldexp(values.astype(np.float64), e).astype("<f2")
        return sealed(self.name, len(values), context, EXPONENT.pack(e) + halves.tobytes())

    def decode(self, payload: bytes, n: int, context: UpdateContext) -> Vector:
        body = of_length(opened(payload, self.name, n, context), EXPONENT.size + 2 * n)
        (e,) = EXPONENT.unpack_from(body)
        halves = np.frombuffer(body[EXPONENT.size :], "<f2")
        if not np.isfinite(halves).all():
            raise DecodeError("message holds NaN or infinite values")
        with np.errstate(over="ignore", under="ignore"):
            return finite(np.ldexp(halves.astype(np.float64), -e).astype(np.float32))


register_kind("fp32", 96)
register_kind("fp16", 97)
updates.register("fp32")(Float32Codec())
updates.register("fp16")(Float16Codec())
