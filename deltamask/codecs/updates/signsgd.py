"""`signsgd`: one bit a value and one scale (Bernstein et al., arXiv 1802.04434).

x̂ = ‖x‖₁/n · sign(x). The paper sends signs alone and folds the step into the learning rate; with the mean magnitude in
front, a server can average clients. Among all multiples of sign(x) this one is nearest to x (Karimireddy et al., arXiv
1901.09847). It is biased: averaging more clients does not remove the error.
"""

from __future__ import annotations

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
    scales,
    sealed,
    updates,
)
from deltamask.codecs.wire.message import register_kind

SCALE_BYTES = 4


@dataclass(frozen=True)
class SignCodec:
    """sign(0) counts as +1."""

    name: str = "signsgd"
    unbiased: bool = False
    suffix: str = ".bin"

    def encode(self, values: Vector, context: UpdateContext) -> bytes:
        values = checked(values)
        scale = np.abs(values).sum(dtype=np.float64) / max(1, len(values))
        bits = np.packbits(values >= 0, bitorder="little")
        return sealed(self.name, len(values), context, np.array(scale, "<f4").tobytes() + bits.tobytes())

    def decode(self, payload: bytes, n: int, context: UpdateContext) -> Vector:
        body = of_length(opened(payload, self.name, n, context), SCALE_BYTES + -(-n // 8))
        (scale,) = scales(body[:SCALE_BYTES])
        bits = np.unpackbits(np.frombuffer(body[SCALE_BYTES:], np.uint8), bitorder="little")
        if bits[n:].any():
            raise DecodeError("unused bits are not zero")
        return finite(np.where(bits[:n], scale, -scale).astype(np.float32))


register_kind("signsgd", 98)
updates.register("signsgd")(SignCodec())
