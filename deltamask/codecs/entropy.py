"""Entropy bounds that measured bytes are compared with. Both in bits, for one client's whole set of flips."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deltamask.base.kernels import kernel
from deltamask.codecs import side_information
from deltamask.codecs.base import CHUNK, CodecContext
from deltamask.masking.masks import Positions


def _bits(flips: npt.NDArray[np.int64], total: npt.NDArray[np.int64]) -> float:
    """Σ n·H2(k / n) in bits."""
    n, k = total.astype(np.float64), flips.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.where(part > 0, part * np.log2(n / part), 0.0) for part in (k, n - k)]
    return float(parts[0].sum() + parts[1].sum())


def entropy_iid(count: int, d: int) -> float:
    """d·H2(count / d): bits for `count` flips among d positions when nothing but the count is known."""
    return _bits(np.array([count]), np.array([d]))


def entropy_side(positions: Positions, context: CodecContext) -> float:
    """Σ_b n_b·H2(k_b / n_b): bits given u and θ_g, by the best table over the buckets of `side`, itself not paid for.

    An oracle's figure: with few flips its table fits their noise as well, so a real code can only come near it.
    """
    flips, total = count_buckets(positions, context)
    return _bits(flips, total)


def count_buckets(positions: Positions, context: CodecContext) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(flips, positions) in each bucket: two int64 arrays of shape (side.BUCKETS,)."""
    flips, total = np.zeros(side_information.BUCKETS, np.int64), np.zeros(side_information.BUCKETS, np.int64)
    for start in range(0, context.d, CHUNK):
        stop = min(context.d, start + CHUNK)
        of = side_information.buckets(context, start, stop)
        _count(of, total)
        low, high = np.searchsorted(positions, (start, stop))
        _count(of[positions[low:high] - start], flips)
    return flips, total


@kernel
def _count(of, into):  # type: ignore[no-untyped-def]
    for i in range(len(of)):
        into[of[i]] += 1
