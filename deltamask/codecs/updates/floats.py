"""`fp32` and `fp16`: the values themselves, in 32 bits or in 16."""

from __future__ import annotations

import struct

import numpy as np

from deltamask.codecs.updates.base import DecodeError, UpdateCode, UpdateContext, Vector, of_length

EXPONENT = struct.Struct("<h")
TOP = 15  # a half reaches 65504, so values scaled below 2¹⁵ never overflow by rounding


class Float32Codec(UpdateCode):
    """Exact."""

    name = "fp32"
    unbiased = True

    def body(self, values: Vector, context: UpdateContext) -> bytes:
        return values.astype("<f4").tobytes()

    def values(self, body: memoryview, n: int, context: UpdateContext) -> Vector:
        body = of_length(body, 4 * n)
        return np.frombuffer(body, "<f4").astype(np.float32)


class Float16Codec(UpdateCode):
    """IEEE halves of 2^e·x, with the e that brings the largest value into [2¹⁴, 2¹⁵).

    Updates are small: as plain halves, values under 6·10⁻⁵ would lose their bits one by one. Two bytes for e keep
    eleven significant bits for everything down to 2⁻²⁸ of the largest value.
    """

    name = "fp16"
    unbiased = False  # it rounds to nearest

    def body(self, values: Vector, context: UpdateContext) -> bytes:
        _, exponent = np.frexp(np.abs(values).max(initial=0))
        e = TOP - int(exponent)
        halves = np.ldexp(values.astype(np.float64), e).astype("<f2")
        return EXPONENT.pack(e) + halves.tobytes()

    def values(self, body: memoryview, n: int, context: UpdateContext) -> Vector:
        body = of_length(body, EXPONENT.size + 2 * n)
        (e,) = EXPONENT.unpack_from(body)
        halves = np.frombuffer(body[EXPONENT.size :], "<f2")
        if not np.isfinite(halves).all():
            raise DecodeError("message holds NaN or infinite values")
        with np.errstate(over="ignore", under="ignore"):
            return np.ldexp(halves.astype(np.float64), -e).astype(np.float32)


Float32Codec().register(96)
Float16Codec().register(97)
