"""The audit stays below what is proven, and finds mechanisms that were broken on purpose."""

from __future__ import annotations

import math

import numpy as np
import pytest
from audited_head import PROVEN, agreed, of_the_head
from scipy import stats

from deltamask.heads import unit_means
from deltamask.privacy.audit import audit, chance, lower_bound


def test_ten_runs_stay_below_what_is_proven() -> None:
    bounds = [of_the_head(run, agreed()).epsilon for run in range(10)]
    assert max(bounds) < PROVEN
    assert np.median(bounds) > 0.1  # it sees something


def test_noise_of_half_the_size_is_found() -> None:
    assert of_the_head(0, agreed(0.5)).epsilon > PROVEN


def test_a_sample_that_is_not_cut_to_its_length_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_means, "to_unit_steps", lambda x: np.rint(x * 2**unit_means.UNIT_BITS).astype(np.int64))
    assert of_the_head(0, agreed()).epsilon > PROVEN


def test_the_bound_by_hand() -> None:
    """Without δ it is the binomial's: 100 right of 100 refute every ε whose accuracy^100 is below 5 %."""
    accuracy = 0.05 ** (1 / 100)
    assert lower_bound(1000, 100, 100, 0.0) == pytest.approx(math.log(accuracy / (1 - accuracy)), rel=1e-6)
    assert chance(1000, 50, 40, 1.0, 0.0) == pytest.approx(stats.binom.sf(39, 50, 1 / (1 + math.exp(-1))))
    assert lower_bound(1000, 100, 50, 1e-5) == 0
    assert lower_bound(1000, 100, 95, 1e-3) < lower_bound(1000, 100, 95, 1e-6) < lower_bound(1000, 100, 95, 0.0)


def test_guesses_of_randomised_response_stay_below_its_epsilon() -> None:
    """Its guesses are as good as ε allows; at 95 % confidence a bound is too high once in twenty runs."""
    rng = np.random.default_rng(5)
    above = 0
    for _ in range(60):
        included = rng.random(500) < 0.5
        told = np.where(rng.random(500) < 1 / (1 + math.exp(-2)), included, ~included)
        above += audit(told + 0.5 * rng.random(500), included, 200, 0.0).epsilon > 2
    assert above <= 8
