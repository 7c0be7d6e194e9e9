"""Dense messages, which are not sets of flips: float32 vectors such as the classifier head, and parts packed as one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deltamask.codecs.wire import png
from deltamask.codecs.wire.message import HEADER_BYTES, DecodeError, register_kind, seal, unseal

Vector = npt.NDArray[np.float32]
Head = Vector  # a classifier, (classes · (features + 1),): weights row by row, then biases

SERVER = 2**32 - 1  # the client field of a message from the server
LARGEST = 2.0**100  # no training moves a weight so far; below it, no codec's arithmetic leaves float32

register_kind(
    "dense32", 1, body="float32 values", about="the classifier head, weights row by row, then biases", dtype="<f4"
)


class Unsendable(FloatingPointError, ValueError):
    """Values that no message holds: NaN, infinite, or beyond LARGEST."""


def sendable(values: npt.NDArray[np.floating], what: str) -> None:
    """Raise Unsendable unless all values are finite and at most LARGEST. what: names them."""
    broken = int(values.size - np.isfinite(values).sum())
    if broken:
        raise Unsendable(f"{what} holds {broken} NaN or infinite values of {values.size}")
    largest = float(np.abs(values).max(initial=0))
    if largest > LARGEST:
        raise Unsendable(f"{what} holds a value of magnitude {largest:.3g}, at most {LARGEST:.3g} can be sent")


def bounded(values: Vector) -> Vector:
    """`values` that came in a message, if they could have been sent; else DecodeError."""
    if not np.isfinite(values).all():
        raise DecodeError("message holds NaN or infinite values, or scales that lead to them")
    largest = float(np.abs(values).max(initial=0))
    if largest > LARGEST:
        raise DecodeError(f"message holds a value of magnitude {largest:.3g}, at most {LARGEST:.3g} can be sent")
    return values


def encode_dense32(values: Vector, round: int, client: int) -> bytes:
    """A float32 vector as a picture: four pixels a value, little-endian. Raises Unsendable."""
    sendable(values, "vector")
    return png.write(seal("dense32", round, client, len(values), values.astype("<f4").tobytes()))


def decode_dense32(payload: bytes, count: int, round: int, client: int) -> Vector:
    """`count` float32 values, finite and at most LARGEST. Raises DecodeError."""
    length = HEADER_BYTES + 4 * count
    pixels, size = png.read(payload, max_pixels=2 * length + 16)
    message = png.strip_padding(pixels, length, size) if len(pixels) >= length else pixels
    body = unseal(message, "dense32", round, client, count)
    if len(body) != 4 * count:
        raise DecodeError(f"message holds {len(body)} bytes of values, expected {4 * count}")
    return bounded(np.frombuffer(body, "<f4").astype(np.float32))


def pack(*messages: bytes) -> bytes:
    """Several messages as one: each behind its length in four bytes, little-endian."""
    return b"".join(len(message).to_bytes(4, "little") + message for message in messages)


def unpack(payload: bytes, count: int) -> list[bytes]:
    """The `count` messages of `pack`. Raises DecodeError."""
    parts: list[bytes] = []
    at = 0
    for _ in range(count):
        length = int.from_bytes(payload[at : at + 4], "little")
        if len(payload) - at < 4 + length:
            raise DecodeError(f"part {len(parts)} of {count} says {length} bytes, the payload ends before")
        parts.append(payload[at + 4 : at + 4 + length])
        at += 4 + length
    if at != len(payload):
        raise DecodeError(f"{len(payload) - at} bytes behind the last of {count} parts")
    return parts
