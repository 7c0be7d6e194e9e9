"""The scalar quantiser of least squared error for a standard normal variable (Lloyd 1957/1982, Max 1960)."""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt

TOLERANCE = 1e-13


@functools.cache
def centroids(bits: int) -> npt.NDArray[np.float64]:
    """The 2^bits values, sorted, symmetric about 0.

    Lloyd's iteration on the positive half, from equal steps up to 3: boundaries go midway between values, values to the
    mean of N(0, 1) between their boundaries, until none moves by 10⁻¹³.
    """
    half = 2 ** (bits - 1)
    values = (np.arange(half) + 0.5) * 3 / half
    while True:
        better = _means(midpoints(values))
        if np.abs(better - values).max() < TOLERANCE:
            break
        values = better
    return np.concatenate([-better[::-1], better])


def midpoints(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Where the quantiser goes from each value to the next."""
    return (values[1:] + values[:-1]) / 2


def _means(inner: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """E[Z | a < Z < b] for the intervals that `inner` cuts (0, ∞) into."""
    edges = [0.0, *inner.tolist(), math.inf]
    density = np.array([math.exp(-z * z / 2) / math.sqrt(2 * math.pi) for z in edges])
    beyond = np.array([math.erfc(z / math.sqrt(2)) / 2 for z in edges])
    return (density[:-1] - density[1:]) / (beyond[:-1] - beyond[1:])
