"""What only the client knew of a payload: Δ, all its flips, and Δ′, those that κ let through. Never on the wire.

A run writes it beside each payload of flips that it keeps (`r0007-c03.png`, `r0007-c03.flips`), so that a viewer can
tell true flips from false ones: two `rice` messages, the positions of Δ, and which of them (by their index in Δ) κ held
back. Needs no torch.

Most of that stands in the payload as well, which is decoded to Δ̂, all of Δ′ and the false flips. `pack_beside` writes
only the rest: which positions of Δ̂ (by their index) are false, and the positions that κ held back. It takes 1 to 60 %
of the room, nothing is lost, and `unpack` reads both.
"""

from __future__ import annotations

import numpy as np

from deltamask.codecs import CodecContext, codecs
from deltamask.codecs.wire import dense
from deltamask.masking.masks import Positions
from deltamask.masking.noise import PublicNoise

BESIDE = b""  # the first part of a file that is read together with its payload; no other begins with an empty part


def pack(delta: Positions, sent: Positions, d: int, round: int, client: int) -> bytes:
    """Δ, sorted positions in [0, d), and its part Δ′ as one file."""
    held_back = np.flatnonzero(~np.isin(delta, sent, assume_unique=True))
    rice = codecs["rice"]
    return dense.pack(
        rice.encode(delta, _context(d, round, client)), rice.encode(held_back, _context(len(delta), round, client))
    )


def pack_beside(decoded: Positions, delta: Positions, sent: Positions, d: int, round: int, client: int) -> bytes:
    """What Δ̂ does not say of Δ and Δ′, as one file. Sorted positions in [0, d). ValueError if Δ̂ lacks some of Δ′."""
    false = np.flatnonzero(~np.isin(decoded, sent, assume_unique=True))
    if len(decoded) - len(false) != len(sent):
        raise ValueError(f"of {len(sent)} flips that were sent, {len(decoded) - len(false)} are decoded")
    held_back = np.setdiff1d(delta, sent, assume_unique=True)
    rice = codecs["rice"]
    return dense.pack(
        BESIDE,
        rice.encode(false, _context(len(decoded), round, client)),
        rice.encode(held_back, _context(d, round, client)),
    )


def unpack(data: bytes, decoded: Positions, d: int, round: int, client: int) -> tuple[Positions, Positions]:
    """(Δ, Δ′) from a file of either kind and Δ̂ (sorted positions), as its payload is decoded. Raises DecodeError."""
    rice = codecs["rice"]
    if not data.startswith(dense.pack(BESIDE)):
        all_flips, held_back = dense.unpack(data, 2)
        delta = rice.decode(all_flips, _context(d, round, client))
        return delta, np.delete(delta, rice.decode(held_back, _context(len(delta), round, client)))
    _, false, held_back = dense.unpack(data, 3)
    sent = np.delete(decoded, rice.decode(false, _context(len(decoded), round, client)))
    only_here = rice.decode(held_back, _context(d, round, client))
    return np.union1d(sent, only_here), sent


def _context(d: int, round: int, client: int) -> CodecContext:
    """`rice` reads nothing but d from it: a θ that takes no memory, and noise that nobody draws."""
    return CodecContext(round, client, np.broadcast_to(np.uint16(0), d), PublicNoise(0, round, client))
