"""Intervals and tests, by hand and against published formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from deltamask.studies import intervals


def test_half_width_by_hand() -> None:
    assert intervals.half_width(np.array([1.0, 2.0, 3.0])) == pytest.approx(4.302653 / math.sqrt(3))
    assert intervals.half_width(np.array([1.0, 2.0])) == pytest.approx(12.7062 / 2, rel=1e-5)
    assert math.isnan(intervals.half_width(np.array([1.0])))


def test_the_error_of_2000_images_by_hand() -> None:
    """0.67 points of standard error at 0.9."""
    assert intervals.over_test_images(0.9, 2000) == pytest.approx(1.959964 * 0.0067082, rel=1e-4)
    assert intervals.over_test_images(1.0, 2000) == 0


def test_intervals_of_shares_stay_inside() -> None:
    assert intervals.inside(0.99, 0.05) == (0.94, 1.0)
    assert intervals.inside(0.01, 0.05) == pytest.approx((0.0, 0.06))
    assert intervals.inside(0.5, 0.25) == (0.25, 0.75)


def test_a_difference_over_seeds_is_the_paired_t_test() -> None:
    gaps = np.array([0.011, 0.004, -0.002, 0.009, 0.006])
    found = intervals.paired(gaps)
    wanted = stats.ttest_1samp(gaps, 0)
    low, high = wanted.confidence_interval()
    assert (found.mean - found.seeds, found.mean + found.seeds) == pytest.approx((low, high))
    assert found.p == pytest.approx(wanted.pvalue)
    assert found.pairs == 5
    assert math.isnan(found.images)
    assert math.isnan(intervals.paired(gaps[:1]).p)


def test_one_round_of_one_seed_is_mcnemars_test() -> None:
    """b = 40 images that only the first gets right, c = 20 that only the other does, of 2,000."""
    right, other = np.ones((1, 2000)), np.ones((1, 2000))
    other[0, :40], right[0, 40:60] = 0, 0
    found = intervals.paired(np.array([right.mean() - other.mean()]), right, other)
    z = found.mean / (found.images / intervals.Z)
    assert z**2 == pytest.approx((40 - 20) ** 2 / (40 + 20 - (40 - 20) ** 2 / 2000), rel=1e-3)
    assert found.p == pytest.approx(2 * stats.norm.sf(z))
    mcnemar = stats.chi2.sf((40 - 20) ** 2 / (40 + 20), 1)
    assert found.p == pytest.approx(mcnemar, rel=0.05)


def test_the_interval_over_images_covers_what_it_promises() -> None:
    """Two models that agree on most images: 95 % of the intervals of 400 test sets hold the true difference."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        easy = rng.random((1, 1500))
        right, other = (easy < 0.90).astype(float), ((easy + rng.normal(0, 0.02, easy.shape)) < 0.89).astype(float)
        gap = right.mean() - other.mean()
        covered += abs(gap - 0.01) <= intervals.over_images(right, other)
    assert 0.92 <= covered / 400 <= 0.98


def test_a_difference_must_hold_over_seeds_and_over_images() -> None:
    """The same gap with every seed, and a test set too small to show it."""
    right, other = np.ones((3, 100)), np.ones((3, 100))
    other[:, :2], right[:, 2:3] = 0, 0
    found = intervals.paired(np.full(3, 0.01), right, other)
    assert found.seeds == 0
    assert found.p == pytest.approx(2 * stats.norm.sf(0.01 / (found.images / intervals.Z)))
    assert found.p > 0.5


def test_holm_by_hand() -> None:
    """0.01·3, 0.02·2, 0.04·1: the last one may not fall below the one before."""
    assert intervals.holm([0.02, 0.01, 0.04]) == pytest.approx([0.04, 0.03, 0.04])
    assert intervals.holm([0.001, 0.9, 0.8]) == pytest.approx([0.003, 1.0, 1.0])
    one, none, two = intervals.holm([0.03, float("nan"), 0.02])
    assert (one, two) == pytest.approx((0.04, 0.04))
    assert math.isnan(none)
