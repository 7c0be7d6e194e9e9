"""Every interval and test that documents and charts show, each defined once. 95 % throughout. NumPy and SciPy only.

Two things are left to chance in an accuracy: the seed (split, initial head, draws of masks and batches), and which
images the test set holds. Runs of several seeds share their test images, so that a spread over seeds says nothing of
the second. Both have their own interval here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri, stdtr, stdtrit

LEVEL = 0.95
Z = float(ndtri(0.5 + LEVEL / 2))

Values = npt.NDArray[np.float64]


def half_width(values: npt.NDArray[np.floating]) -> float:
    """Half the 95 % interval of a mean, t₀.₉₇₅(n − 1) · s / √n (Student's t); NaN for fewer than two values."""
    n = len(values)
    return float(stdtrit(n - 1, 0.5 + LEVEL / 2) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else float("nan")


class Figure(NamedTuple):
    """A mean of `of` values, one a run or a client, and half its 95 % interval; NaN where there is none."""

    mean: float
    width: float
    of: int

    def text(self, digits: int = 3) -> str:
        """`0.312 ± 0.041`."""
        return f"{self.mean:.{digits}f}" + (f" ± {self.width:.{digits}f}" if np.isfinite(self.width) else "")


NOTHING = Figure(math.nan, math.nan, 0)


def figure(values: npt.ArrayLike) -> Figure:
    """Of (n,) values."""
    plain = np.asarray(values, np.float64)
    return Figure(float(plain.mean()), half_width(plain), len(plain)) if len(plain) else NOTHING


def over_test_images(accuracy: float, images: int) -> float:
    """Half the 95 % interval of an accuracy over test sets of so many images: the binomial error, z·√(p(1 − p)/n)."""
    return float(Z * np.sqrt(accuracy * (1 - accuracy) / images)) if images else float("nan")


def inside(mean: float, width: float, low: float = 0.0, high: float = 1.0) -> tuple[float, float]:
    """(lower, upper) end of mean ± width, which for a share cannot lie outside [0, 1]."""
    return max(low, mean - width), min(high, mean + width)


@dataclass(frozen=True)
class Difference:
    """One arm less another, paired. mean. seeds, images: half widths of its 95 % interval over seeds and over test
    images; NaN where there is only one seed, or nobody recorded which images were right. pairs: seeds in common. p: of
    no difference, the larger one of both, since a difference must hold over seeds and over images; NaN if neither is
    known.
    """

    mean: float
    seeds: float
    images: float
    pairs: int
    p: float


def paired(gaps: Values, right: Values | None = None, other: Values | None = None) -> Difference:
    """gaps: (seeds,) one arm less the other. right, other: (seeds, images) share of its last rounds in which each arm
    had each image right, of the same seeds and images."""
    n = len(gaps)
    mean = float(gaps.mean()) if n else float("nan")
    seeds = half_width(gaps)
    images = float("nan") if right is None or other is None else over_images(right, other)
    known = [_p_of_t(mean, seeds, n)] if np.isfinite(seeds) else []
    if np.isfinite(images):
        known.append(_p_of_z(mean, images))
    return Difference(mean, seeds, images, n, max(known, default=float("nan")))


def over_images(right: Values, other: Values) -> float:
    """Half the 95 % interval of the mean of right − other over test images: z·s/√n of the differences image by image,
    each a mean over seeds.

    Where both are 0 or 1 and there is one seed, mean over s/√n is McNemar's statistic, (b − c)/√(b + c), but for
    (b − c)²/n below the root.
    """
    each = (right - other).mean(axis=0)
    return float(Z * np.std(each, ddof=1) / np.sqrt(len(each))) if len(each) > 1 else float("nan")


def _p_of_t(mean: float, width: float, n: int) -> float:
    if width == 0:
        return float(mean == 0)
    return float(2 * stdtr(n - 1, -abs(mean) / width * stdtrit(n - 1, 0.5 + LEVEL / 2)))


def _p_of_z(mean: float, width: float) -> float:
    return float(2 * ndtr(-abs(mean) / width * Z)) if width else float(mean == 0)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's correction of p-values that are read together: p₍ᵢ₎·(m − i + 1), rising, at most 1. NaN stays and does not
    count."""
    known = [i for i in range(len(p)) if np.isfinite(p[i])]
    corrected, highest = list(map(float, p)), 0.0
    for rank, i in enumerate(sorted(known, key=lambda i: p[i])):
        highest = max(highest, min(1.0, float(p[i]) * (len(known) - rank)))
        corrected[i] = highest
    return corrected
