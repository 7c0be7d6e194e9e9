"""θ in fixed point, masks from public randomness, flips and their ranking."""

from __future__ import annotations

from fractions import Fraction
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from deltamask.masking import masks
from deltamask.masking.masks import ONE, THETA_MAX, THETA_MIN
from deltamask.masking.noise import PublicNoise

THETAS = st.integers(THETA_MIN, THETA_MAX)
EVERY = np.arange(THETA_MIN, THETA_MAX + 1, dtype=np.uint16)


def test_the_clip_is_the_sigmoid_of_six() -> None:
    assert (THETA_MIN, THETA_MAX) == (162, 65374)
    assert pytest.approx(1 / (1 + np.exp(6.0)), abs=2**-17) == THETA_MIN / ONE


def test_fixed_point_round_trips_every_value() -> None:
    floats = masks.to_float(EVERY)
    assert floats.dtype == np.float32
    np.testing.assert_array_equal(masks.to_fixed(floats), EVERY, strict=True)
    np.testing.assert_array_equal(masks.to_fixed(floats.astype(np.float64)), EVERY, strict=True)


def test_fixed_point_rounds_to_the_nearest_and_clips() -> None:
    theta = np.array([0.0, 1.0, -3.0, 7.0, 0.5, 0.5 + 0.4 / ONE, 0.5 + 0.6 / ONE, np.inf, -np.inf])
    expected = [THETA_MIN, THETA_MAX, THETA_MIN, THETA_MAX, 32768, 32768, 32769, THETA_MAX, THETA_MIN]
    assert masks.to_fixed(theta).tolist() == expected


def test_fixed_point_refuses_nan() -> None:
    with pytest.raises(ValueError, match="NaN"):
        masks.to_fixed(np.array([0.5, np.nan]))


@pytest.mark.parametrize("theta", [THETA_MIN, 6554, 32768, 62259, THETA_MAX])
def test_a_mask_bit_is_one_with_probability_theta(theta: int) -> None:
    n = 1 << 19
    mask = masks.sample(np.full(n, theta, np.uint16), PublicNoise(1, 1, theta).words(0, n))
    p = theta / ONE
    assert abs(int(mask.sum()) - n * p) < 4.5 * np.sqrt(n * p * (1 - p))


def test_a_mask_bit_is_one_for_exactly_theta_of_all_words() -> None:
    words = np.arange(ONE, dtype=np.uint32).astype(np.uint16)
    for theta in (THETA_MIN, 32768, THETA_MAX):
        assert masks.sample(np.full(ONE, theta, np.uint16), words).sum() == theta


@given(arrays.arrays(np.uint16, 50, elements=THETAS), arrays.arrays(np.uint16, 50, elements=THETAS), st.integers(0, 99))
def test_flips_lie_where_u_is_between_the_two_thetas(left: masks.Theta, right: masks.Theta, seed: int) -> None:
    u = PublicNoise(seed, 1, 0).words(0, 50)
    found = masks.flips(left, right, u)
    low, high = np.minimum(left, right), np.maximum(left, right)
    assert found.tolist() == [i for i in range(50) if low[i] <= u[i] < high[i]]
    assert found.tolist() == masks.flips(right, left, u).tolist()
    assert masks.flips(left, left, u).size == 0


def test_kl_by_hand() -> None:
    p = np.array([32768, 16384, 16384, 49152], np.uint16)  # 1/2, 1/4, 1/4, 3/4
    q = np.array([16384, 32768, 16384, 16384], np.uint16)  # 1/4, 1/2, 1/4, 1/4
    expected = [
        0.5 * log(2) + 0.5 * log(2 / 3),
        0.25 * log(1 / 2) + 0.75 * log(3 / 2),
        0.0,
        0.75 * log(3) + 0.25 * log(1 / 3),
    ]
    np.testing.assert_allclose(masks.bernoulli_kl(p, q), expected, rtol=1e-14, atol=1e-16)


@given(THETAS, THETAS)
def test_kl_is_finite_and_zero_only_for_equal_thetas(p: int, q: int) -> None:
    (kl,) = masks.bernoulli_kl(np.array([p], np.uint16), np.array([q], np.uint16))
    assert np.isfinite(kl)
    assert (kl > 0) == (p != q)


@given(
    arrays.arrays(np.uint16, 200, elements=THETAS),
    arrays.arrays(np.uint16, 200, elements=THETAS),
    st.sets(st.integers(0, 199)),
    st.integers(1, 100),
)
def test_keep_top_keeps_the_largest_kl(
    client: masks.Theta, server: masks.Theta, chosen: set[int], percent: int
) -> None:
    positions = np.array(sorted(chosen), np.int64)
    kept = masks.keep_top(positions, client, server, percent / 100)
    assert len(kept) == -(-percent * len(positions) // 100)
    assert (np.diff(kept) > 0).all()
    assert set(kept.tolist()) <= chosen
    kl = masks.bernoulli_kl(client, server)
    left_out = np.setdiff1d(positions, kept)
    if len(kept) and len(left_out):
        assert kl[kept].min() >= kl[left_out].max()


@pytest.mark.parametrize(("kappa", "count"), [(0.07, 100), (0.55, 100), (0.1, 1), (1e-6, 5), (0.999, 1000), (1.0, 9)])
def test_keep_top_keeps_kappa_of_the_flips_rounded_up(kappa: float, count: int) -> None:
    theta = np.linspace(THETA_MIN, THETA_MAX, count).astype(np.uint16)
    kept = masks.keep_top(np.arange(count), theta, np.full(count, 32768, np.uint16), kappa)
    assert len(kept) == -int(-Fraction(str(kappa)) * count // 1)


def test_keep_top_gives_ties_to_the_lower_position() -> None:
    client, server = np.full(10, 40000, np.uint16), np.full(10, 32768, np.uint16)
    client[7] = 50000
    positions = np.array([1, 3, 4, 7, 9])
    assert masks.keep_top(positions, client, server, 0.6).tolist() == [1, 3, 7]
    assert masks.keep_top(np.zeros(0, np.int64), client, server, 0.5).tolist() == []


@given(arrays.arrays(np.bool_, 60), st.sets(st.integers(0, 59)))
def test_applying_flips_twice_changes_nothing(mask: masks.Mask, chosen: set[int]) -> None:
    positions = np.array(sorted(chosen), np.int64)
    before = mask.copy()
    once = masks.apply_flips(mask, positions)
    np.testing.assert_array_equal(mask, before)
    assert np.flatnonzero(once != mask).tolist() == sorted(chosen)
    np.testing.assert_array_equal(masks.apply_flips(once, positions), mask)
