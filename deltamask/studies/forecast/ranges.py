"""A figure that is forecast, and the range that goes with it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

SHARE = 0.9  # of the forecasts of measured runs, whose error a range covers
LEAST = 0.01  # of a size or a time, that a range reaches further: errors that were all 0 do not promise another 0


@dataclass(frozen=True)
class Range:
    """A figure, forecast. low, high: between them it was in SHARE of the cases when `errors` measured runs were
    forecast in the same way; with no errors to judge from, both are the figure itself."""

    value: float
    low: float
    high: float
    errors: int

    def holds(self, figure: float) -> bool:
        """Did it come so?"""
        return self.low <= figure <= self.high

    def times(self, factor: float, more: float = 0.0) -> Range:
        """Each bound times a factor, and a known part on top."""
        low, value, high = (factor * each + more for each in (self.low, self.value, self.high))
        return Range(value, low, high, self.errors)

    def plus(self, other: Range) -> Range:
        """The sum of two that may both be off in the same direction."""
        low, high = self.low + other.low, self.high + other.high
        return Range(self.value + other.value, low, high, min(self.errors, other.errors))


def additive(value: float, errors: Values) -> Range:
    """errors: (n,) a measured figure less what was forecast. Of a share, so within [0, 1]."""
    less, more = _ends(errors)
    return Range(value, max(0.0, value + less), min(1.0, value + more), len(errors))


def relative(value: float, errors: Values) -> Range:
    """errors: (n,) ln of a measured figure over what was forecast."""
    less, more = _ends(errors)
    less, more = (math.exp(less - LEAST), math.exp(more + LEAST)) if len(errors) else (1.0, 1.0)
    return Range(value, value * less, value * more, len(errors))


def _ends(errors: Values) -> tuple[float, float]:
    """The quantiles that leave out half the rest on either side; the forecast itself is never outside."""
    if not len(errors):
        return 0.0, 0.0
    less, more = np.quantile(errors, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return min(0.0, float(less)), max(0.0, float(more))
