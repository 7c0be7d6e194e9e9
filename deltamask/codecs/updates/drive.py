"""`drive`: one bit a value after a random rotation (Vargaftik et al., arXiv 2105.08339, algorithm 1).

The client rotates x, and sends sign(R·x) and the scale S = ‖x‖₂² / ‖R·x‖₁. The server returns x̂ = S·R⁻¹·sign(R·x). With
this scale ⟨x̂, x⟩ = ‖x‖² and x̂ is unbiased; its error is (π/2 − 1)·‖x‖² in high dimension. The paper's other scale,
‖R·x‖₁ / d, has the least error for a single vector, but is biased: errors of many clients would not average out.
"""

from __future__ import annotations

import numpy as np

from deltamask.codecs.updates.base import UpdateCode, UpdateContext, Vector, of_length, scales
from deltamask.codecs.updates.hadamard import blocks, padded, rotate, unbiased_scales, unrotate


class DriveCodec(UpdateCode):
    """Body: a float32 scale for each block, then a bit for each rotated value, lowest first, 1 for +."""

    name = "drive"
    unbiased = True

    def body(self, values: Vector, context: UpdateContext) -> bytes:
        n = len(values)
        y, sigma = rotate(values, context)
        signs = np.where(y >= 0, np.float32(1), np.float32(-1))
        scale = unbiased_scales(y, signs, sigma, n)  # ⟨R·x, sign(R·x)⟩ = ‖R·x‖₁
        bits = np.packbits(y >= 0, bitorder="little")
        return scale.astype("<f4").tobytes() + bits.tobytes()

    def values(self, body: memoryview, n: int, context: UpdateContext) -> Vector:
        head = 4 * len(blocks(n))
        body = of_length(body, head + padded(n) // 8)
        bits = np.unpackbits(np.frombuffer(body[head:], np.uint8), bitorder="little")
        return unrotate(2 * bits.astype(np.float32) - 1, scales(body[:head]), n, context)


DriveCodec().register(100)
