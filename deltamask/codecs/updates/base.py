"""What every update codec shares: the context both sides hold, the checks on values, the registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from deltamask.base.registry import Registry
from deltamask.codecs.wire.dense import LARGEST, SERVER, Vector, bounded, sendable
from deltamask.codecs.wire.message import DecodeError, register_kind, seal, unseal

__all__ = ["LARGEST", "SERVER", "DecodeError", "UpdateCodec", "UpdateContext", "Vector", "updates"]


@dataclass(frozen=True)
class UpdateContext:
    """What server and client both know before a payload travels.

    seed: of the run; all rotations and choices of coordinates derive from it. round, client: whom the payload is from
    (`SERVER` on the downlink); a payload that says otherwise is refused.
    """

    seed: int
    round: int
    client: int


class UpdateCodec(Protocol):
    """A way to send a dense vector of floats, such as the weights' change in one round.

    unbiased: over the seeds, what is decoded has the vector itself as its mean, so that errors of many clients average
    out. suffix: names the payload's files.
    """

    @property
    def name(self) -> str: ...

    @property
    def unbiased(self) -> bool: ...

    @property
    def suffix(self) -> str: ...

    def encode(self, values: Vector, context: UpdateContext) -> bytes:
        """Values of shape (n,), any n ≥ 0, to a payload. ValueError if one is NaN, infinite or above `LARGEST`."""
        ...

    def decode(self, payload: bytes, n: int, context: UpdateContext) -> Vector:
        """n finite values of at most `LARGEST`. Raises DecodeError, and nothing else."""
        ...


updates: Registry[UpdateCodec] = Registry("update codec")


class UpdateCode(ABC):
    """An update codec in two functions: the body of checked values, and the values of a body.

    Header, checks of what is sent and of what came, and DecodeError are here.
    """

    name: str
    unbiased: bool
    suffix = ".bin"

    @abstractmethod
    def body(self, values: Vector, context: UpdateContext) -> bytes:
        """What follows the header, of (n,) finite values."""

    @abstractmethod
    def values(self, body: memoryview, n: int, context: UpdateContext) -> Vector:
        """(n,) float32 values of a body that may be anybody's. Raises DecodeError."""

    def encode(self, values: Vector, context: UpdateContext) -> bytes:
        """Values of shape (n,) to a payload. ValueError as UpdateCodec says."""
        values = checked(values)
        return seal(self.name, context.round, context.client, len(values), self.body(values, context))

    def decode(self, payload: bytes, n: int, context: UpdateContext) -> Vector:
        """n finite values of at most `LARGEST`. Raises DecodeError."""
        return bounded(self.values(unseal(payload, self.name, context.round, context.client, n), n, context))

    def register(self, kind: int) -> None:
        """Offer it, under its name and with the number of its kind of message."""
        register_kind(self.name, kind)
        updates.register(self.name)(self)


def checked(values: Vector) -> Vector:
    """`values` as a contiguous float32 vector, if all are finite and at most LARGEST. ValueError otherwise."""
    values = np.ascontiguousarray(values, np.float32)
    if values.ndim != 1:
        raise ValueError(f"an update is a vector, this has shape {values.shape}")
    sendable(values, "update")
    return values


def of_length(body: memoryview, length: int) -> memoryview:
    """`body`, if it has so many bytes. Raises DecodeError."""
    if len(body) != length:
        raise DecodeError(f"message holds {len(body)} bytes of values, expected {length}")
    return body


def scales(body: memoryview) -> npt.NDArray[np.float64]:
    """Bytes of float32 scales, all finite and not negative. Raises DecodeError."""
    found = np.frombuffer(body, "<f4")
    if not (np.isfinite(found) & (found >= 0)).all():
        raise DecodeError("a scale is NaN, infinite or negative")
    return found.astype(np.float64)
