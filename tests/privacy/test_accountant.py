"""What noisy steps spend, against published figures and an accountant from elsewhere."""

from __future__ import annotations

import pytest
from opacus.accountants import RDPAccountant

from deltamask.privacy.accountant import Steps, noise_for, spent

RATE, STEPS, DELTA = 64 / 1200, 760, 1e-5  # 5 clients × 1,200 samples, batches of 64, 40 rounds of one epoch
EXPECTED = {1: 6.06, 2: 3.30, 4: 1.90, 8: 1.20}


@pytest.mark.parametrize(("epsilon", "noise"), EXPECTED.items())
def test_noise_for_a_budget(epsilon: float, noise: float) -> None:
    found = noise_for(epsilon, DELTA, RATE, STEPS)
    assert found == pytest.approx(noise, rel=0.01)
    steps = [Steps(found, RATE, STEPS)]
    assert 0.99 * epsilon < spent(steps, DELTA) <= epsilon
    assert 0.8 * epsilon < spent(steps, DELTA, "pld") < epsilon  # the tighter account


@pytest.mark.parametrize(("noise", "rate", "number"), [(1.2, RATE, 760), (1.3, 0.2, 40), (6.06, 0.01, 5000), (2, 1, 9)])
def test_epsilon_is_that_of_opacus(noise: float, rate: float, number: int) -> None:
    theirs = RDPAccountant()
    theirs.history = [(noise, rate, number)]
    assert spent([Steps(noise, rate, number)], DELTA) == pytest.approx(theirs.get_epsilon(DELTA), rel=0.01)


def test_runs_on_the_same_samples_add_up() -> None:
    one = [Steps(1.5, RATE, 300)]
    both = [*one, Steps(2.5, RATE, 200)]
    theirs = RDPAccountant()
    theirs.history = [(1.5, RATE, 300), (2.5, RATE, 200)]
    assert spent(both, DELTA) == pytest.approx(theirs.get_epsilon(DELTA), rel=0.01)
    assert spent(both, DELTA) > spent(one, DELTA)
    assert spent(reversed(both), DELTA) == spent(both, DELTA)
    assert spent([*one, *one], DELTA) == pytest.approx(spent([Steps(1.5, RATE, 600)], DELTA))
    assert spent([], DELTA) == spent([Steps(1.0, RATE, 0)], DELTA) == 0


def test_what_is_spent_beside_takes_more_noise() -> None:
    beside = (Steps(4.0, 1.0, 1),)
    noise = noise_for(4, DELTA, RATE, STEPS, beside)
    assert noise > noise_for(4, DELTA, RATE, STEPS)
    assert 3.9 < spent([*beside, Steps(noise, RATE, STEPS)], DELTA) <= 4


def test_a_budget_that_no_noise_keeps_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dp_epsilon = 1e-06 cannot be kept over 760 steps"):
        noise_for(1e-6, DELTA, RATE, STEPS)
