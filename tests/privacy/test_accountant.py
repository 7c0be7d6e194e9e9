"""What noisy steps spend, against published figures and an accountant from elsewhere."""

from __future__ import annotations

import math
from decimal import Decimal, getcontext

import pytest
from opacus.accountants import RDPAccountant

from deltamask.privacy.accountant import Rounds, Steps, noise_for, spent

RATE, STEPS, DELTA = 64 / 1200, 760, 1e-5  # 5 clients × 1,200 samples, batches of 64, 40 rounds of one epoch
EXPECTED = {1: 6.06, 2: 3.30, 4: 1.90, 8: 1.20}


@pytest.mark.parametrize(("epsilon", "noise"), EXPECTED.items())
def test_noise_for_a_budget(epsilon: float, noise: float) -> None:
    found = noise_for(epsilon, DELTA, Steps(0.0, RATE, STEPS))
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
    noise = noise_for(4, DELTA, Steps(0.0, RATE, STEPS), beside)
    assert noise > noise_for(4, DELTA, Steps(0.0, RATE, STEPS))
    assert 3.9 < spent([*beside, Steps(noise, RATE, STEPS)], DELTA) <= 4


def test_a_budget_that_no_noise_keeps_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dp_epsilon = 1e-06 cannot be kept over 760 steps"):
        noise_for(1e-6, DELTA, Steps(0.0, RATE, STEPS))


@pytest.mark.parametrize(("noise", "chosen", "number"), [(3.0, 6, 40), (1.5, 20, 10), (8.0, 3, 100)])
def test_sums_over_drawn_clients_are_counted_as_the_theorem_says(noise: float, chosen: int, number: int) -> None:
    """Theorem 27 of Wang et al. 2019, in decimals, and ε from it by Proposition 12 of Canonne et al. 2020."""
    getcontext().prec = 200
    q, variance = Decimal(chosen) / 30, Decimal(noise) ** 2

    def moment(i: int) -> Decimal:
        """E (P/Q)^i of two Gaussians whose means are one apart."""
        return (i * (i - 1) / (2 * variance)).exp()

    def chi(j: int) -> Decimal:
        """E (P/Q − 1)^j."""
        return sum(((-1) ** (j - i) * math.comb(j, i) * moment(i) for i in range(j + 1)), Decimal(0))

    def rdp(order: int) -> float:
        terms = [Decimal(1), q**2 * math.comb(order, 2) * min(4 * (moment(2) - 1), 2 * moment(2))]
        for j in range(3, order + 1):
            bound = min(4 * (chi(j - j % 2) * chi(j + j % 2)).sqrt(), 2 * moment(j))
            terms.append(q**j * math.comb(order, j) * bound)
        return number * float(sum(terms).ln()) / (order - 1)

    epsilon = min(rdp(order) + math.log1p(-1 / order) - math.log(DELTA * order) / (order - 1) for order in range(2, 41))
    assert spent([Rounds(noise, chosen, 30, number)], DELTA) == pytest.approx(epsilon, rel=0.01)


def test_sums_over_all_clients_are_gaussian_steps_and_fewer_clients_spend_less() -> None:
    everyone = spent([Rounds(4.0, 30, 30, 50)], DELTA)
    assert everyone == spent([Steps(4.0, 1.0, 50)], DELTA)
    assert spent([Rounds(4.0, 5, 30, 50)], DELTA) < everyone
    noise = noise_for(8, DELTA, Rounds(0.0, 5, 30, 50), (Rounds(2.0, 30, 30, 1),))
    assert 7.9 < spent([Rounds(noise, 5, 30, 50), Rounds(2.0, 30, 30, 1)], DELTA) <= 8
