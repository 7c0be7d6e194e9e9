"""Randomness keyed by (seed, purpose, round, client), never by a global generator.

*Public* randomness u is derived by server and client alike and never sent. It is counter-based (Philox 4×64), so any
range of positions can be generated without the others.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

WORDS_PER_COUNTER = 16  # one Philox counter gives 4 × 64 bits = 16 words of 16 bits

Words = npt.NDArray[np.uint16]


def key(seed: int, purpose: str, *, round: int = 0, client: int | None = None) -> int:
    """The 128-bit key of one stream. Different arguments give independent streams; `client=None` means all clients."""
    text = f"deltamask/{seed}/{purpose}/{round}/{'all' if client is None else client}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")


def generator(seed: int, purpose: str, *, round: int = 0, client: int | None = None) -> np.random.Generator:
    """A NumPy generator for one stream."""
    return np.random.Generator(np.random.Philox(key=key(seed, purpose, round=round, client=client)))


def torch_seed(seed: int, purpose: str, *, round: int = 0, client: int | None = None) -> int:
    """A 63-bit seed for a `torch.Generator`."""
    return key(seed, purpose, round=round, client=client) >> 65


@dataclass(frozen=True)
class PublicNoise:
    """u: uniform 16-bit words, one a position, that both sides derive from (seed, round, client)."""

    seed: int
    round: int
    client: int | None  # None: the same u for all clients (`noise = shared`)

    def words(self, start: int, stop: int) -> Words:
        """u[start:stop] as uint16. Cost is O(stop − start), whatever `start` is."""
        first = start // WORDS_PER_COUNTER
        last = -(-stop // WORDS_PER_COUNTER)
        stream = np.random.Philox(key=key(self.seed, "mask", round=self.round, client=self.client))
        stream.advance(first)
        raw = stream.random_raw(4 * (last - first)).astype("<u8", copy=False).view("<u2")
        return raw[start - first * WORDS_PER_COUNTER :][: stop - start].astype(np.uint16, copy=False)
