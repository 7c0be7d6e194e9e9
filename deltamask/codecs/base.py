"""What a codec is: the context both sides hold, its interface, its checks, and the registry."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from deltamask.base.registry import Registry
from deltamask.masking.masks import Positions, Theta
from deltamask.masking.noise import PublicNoise

OF_WIDTH = re.compile(r"(bfuse|xor)(8|16|32)(-gated)?")  # names of codecs that come in several bits an entry


@dataclass(frozen=True)
class CodecContext:
    """What server and client both know before a payload travels.

    theta: (d,) θ_g in units of 2⁻¹⁶. noise: the client's public u by position. layers: where each masked layer starts
    in the flat vector, then d. round, client: whom the payload is from; a payload that says otherwise is refused.
    """

    round: int
    client: int
    theta: Theta
    noise: PublicNoise
    layers: tuple[int, ...] = ()

    @property
    def d(self) -> int:
        """Number of maskable weights."""
        return len(self.theta)


class Codec(Protocol):
    """A way to send a set of positions.

    exact: decoding gives back the very set. Otherwise it gives a superset, and `false_positive_rate` is the share of
    the other positions that it adds; None where that share depends on the flips. suffix: names the payload's files.
    """

    @property
    def name(self) -> str: ...

    @property
    def exact(self) -> bool: ...

    @property
    def suffix(self) -> str: ...

    @property
    def false_positive_rate(self) -> float | None:
        """Expected share of the positions outside the set that decoding adds to it."""
        ...

    def encode(self, positions: Positions, context: CodecContext) -> bytes:
        """Sorted unique positions in [0, d) to a payload."""
        ...

    def decode(self, payload: bytes, context: CodecContext) -> Positions:
        """The sorted positions that a server reads out of `payload`. Raises DecodeError, and nothing else."""
        ...


@runtime_checkable
class ShowsFlips(Protocol):
    """A codec whose bytes belong to single flips: the Wire page then leads from a byte to them."""

    def flips_in_byte(self, message: bytes, positions: Positions, offset: int) -> Positions:
        """The flips with bits in the message's byte at `offset` of the body. positions: all that it decodes to."""
        ...


codecs: Registry[Codec] = Registry("codec")

CHUNK = 1 << 20  # positions asked at once: u, buckets and answers never exist for all of a large d
FIRST_CHUNK, LARGEST_CHUNK = 1 << 12, 1 << 17  # of a code that learns from a chunk after it has been coded


def checked(positions: Positions, d: int) -> Positions:
    """`positions` as int64, if they are sorted, unique and in [0, d). ValueError otherwise: the caller has a bug."""
    positions = np.ascontiguousarray(positions, np.int64)
    if len(positions) and (positions[0] < 0 or positions[-1] >= d or not (positions[1:] > positions[:-1]).all()):
        raise ValueError(f"positions are not sorted, unique and in [0, {d})")
    return positions


def scan(members: Callable[[int, int], npt.NDArray[np.bool_]], d: int, chunk: int = CHUNK) -> Positions:
    """All positions in [0, d) where `members(start, stop)` is true, asked in chunks."""
    starts = range(0, d, chunk)
    parts = [np.flatnonzero(members(start, min(d, start + chunk))) + start for start in starts]
    found = np.empty(sum(map(len, parts)), np.int64)
    end = len(found)
    while parts:  # each part goes as soon as it is copied: where all are members, they are as large as the answer
        part = parts.pop()
        found[end - len(part) : end] = part
        end -= len(part)
    return found


def learning_chunks(
    d: int, layers: tuple[int, ...], first: int = FIRST_CHUNK, *, anew: bool = False
) -> Iterator[tuple[int, int, int]]:
    """(layer, start, stop): small chunks at first, while little has been learnt. None reaches across a layer.

    first: positions of the first chunk. anew: every layer begins with such a one.
    """
    bounds = [0, *sorted({b for b in layers if 0 < b < d}), d]
    size = first
    for layer, (start, end) in enumerate(pairwise(bounds)):
        size = first if anew else size
        while start < end:
            yield layer, start, min(end, start + size)
            start, size = start + size, min(2 * size, LARGEST_CHUNK)
