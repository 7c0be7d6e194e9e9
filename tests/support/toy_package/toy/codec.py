"""A codec in one file: positions as four bytes each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deltamask.codecs.base import CodecContext, checked, codecs
from deltamask.codecs.wire.message import DecodeError, register_kind, seal, unseal

register_kind("toy", 200)


@dataclass(frozen=True)
class ToyCodec:
    """Little-endian uint32, sorted."""

    name: str = "toy"
    exact: bool = True
    suffix: str = ".bin"
    false_positive_rate: float = 0.0

    def encode(self, positions: np.ndarray, context: CodecContext) -> bytes:
        body = checked(positions, context.d).astype("<u4").tobytes()
        return seal(self.name, context.round, context.client, context.d, body)

    def decode(self, payload: bytes, context: CodecContext) -> np.ndarray:
        body = unseal(payload, self.name, context.round, context.client, context.d)
        if len(body) % 4:
            raise DecodeError(f"{len(body)} bytes are no whole number of positions")
        positions = np.frombuffer(body, "<u4").astype(np.int64)
        if (np.diff(positions) <= 0).any() or (len(positions) and positions[-1] >= context.d):
            raise DecodeError("positions are not sorted, unique and in [0, d)")
        return positions


codecs.register("toy")(ToyCodec())
