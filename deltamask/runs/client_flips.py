"""What only the client knew of a payload: Δ, all its flips, and Δ′, those that κ let through. Never on the wire.

A run writes it beside each payload of flips that it keeps (`r0007-c03.png`, `r0007-c03.flips`), so that a viewer can
tell true flips from false ones: two `rice` messages, the positions of Δ, and which of them (by their index in Δ) κ held
back. Needs no torch.
"""

from __future__ import annotations

import numpy as np

from deltamask.codecs import CodecContext, codecs
from deltamask.codecs.wire import dense
from deltamask.masking.masks import Positions
from deltamask.masking.noise import PublicNoise

SUFFIX = ".flips"


def pack(delta: Positions, sent: Positions, d: int, round: int, client: int) -> bytes:
    """Δ, sorted positions in [0, d), and its part Δ′ as one file."""
    held_back = np.flatnonzero(~np.isin(delta, sent, assume_unique=True))
    rice = codecs["rice"]
    return dense.pack(
        rice.encode(delta, _context(d, round, client)), rice.encode(held_back, _context(len(delta), round, client))
    )


def unpack(data: bytes, d: int, round: int, client: int) -> tuple[Positions, Positions]:
    """(Δ, Δ′). Raises DecodeError."""
    rice = codecs["rice"]
    all_flips, held_back = dense.unpack(data, 2)
    delta = rice.decode(all_flips, _context(d, round, client))
    return delta, np.delete(delta, rice.decode(held_back, _context(len(delta), round, client)))


def _context(d: int, round: int, client: int) -> CodecContext:
    """`rice` reads nothing but d from it: a θ that takes no memory, and noise that nobody draws."""
    return CodecContext(round, client, np.broadcast_to(np.uint16(0), d), PublicNoise(0, round, client))
