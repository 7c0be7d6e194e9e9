"""`signsgd`: one bit a value and one scale (Bernstein et al., arXiv 1802.04434).

x̂ = ‖x‖₁/n · sign(x). The paper sends signs alone and folds the step into the learning rate; with the mean magnitude in
front, a server can average clients. Among all multiples of sign(x) this one is nearest to x (Karimireddy et al., arXiv
1901.09847). It is biased: averaging more clients does not remove the error.
"""

from __future__ import annotations

import numpy as np

from deltamask.codecs.updates.base import DecodeError, UpdateCode, UpdateContext, Vector, of_length, scales

SCALE_BYTES = 4


class SignCodec(UpdateCode):
    """sign(0) counts as +1."""

    name = "signsgd"
    unbiased = False

    def body(self, values: Vector, context: UpdateContext) -> bytes:
        scale = np.abs(values).sum(dtype=np.float64) / max(1, len(values))
        bits = np.packbits(values >= 0, bitorder="little")
        return np.array(scale, "<f4").tobytes() + bits.tobytes()

    def values(self, body: memoryview, n: int, context: UpdateContext) -> Vector:
        body = of_length(body, SCALE_BYTES + -(-n // 8))
        (scale,) = scales(body[:SCALE_BYTES])
        bits = np.unpackbits(np.frombuffer(body[SCALE_BYTES:], np.uint8), bitorder="little")
        if bits[n:].any():
            raise DecodeError("unused bits are not zero")
        return np.where(bits[:n], scale, -scale).astype(np.float32)


SignCodec().register(98)
