"""What noisy steps spend of ε, by Google's `dp-accounting`.

A step draws each sample with the same chance q (Poisson sampling), adds up their gradients, none longer than C, and
adds Gaussian noise of standard deviation σ·C. Two sets of samples are neighbours if one has one sample more. Rényi
accounting (RDP; Mironov 2017, arXiv 1702.07476) is what runs count by: fast, and an upper bound. The privacy loss
distribution (PLD; Koskela et al., arXiv 1906.03049) is closer to the truth, so its ε is smaller.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

Accountant = Literal["rdp", "pld"]
SMALLEST_NOISE, LARGEST_NOISE = 1e-2, 1e4  # σ
TOLERANCE = 5e-4  # of σ, when it is searched for
# Rényi orders among which the best is taken. Below 2 the series for sampled noise need not converge, so that an ε
# above 10 comes out a few per cent too large.
ORDERS = (*(2 + half / 2 for half in range(16)), *range(10, 32), *range(32, 64, 4), 64, 128, 256, 512, 1024)


class Steps(NamedTuple):
    """So many noisy steps. noise: σ. rate: q, the chance of each sample to be in a step's batch; 1: all are."""

    noise: float
    rate: float
    number: int


def spent(steps: Iterable[Steps], delta: float, accountant: Accountant = "rdp") -> float:
    """ε of all these steps on the same samples, whichever runs they belong to; 0 of none. delta: in (0, 1)."""
    return _spent(tuple(sorted(part for part in steps if part.number)), delta, accountant)


def noise_for(epsilon: float, delta: float, rate: float, count: int, beside: tuple[Steps, ...] = ()) -> float:
    """The least σ with which `count` steps at rate q, and what is spent beside them, stay within ε by RDP.

    ValueError if no σ up to LARGEST_NOISE does.
    """
    return _noise_for(epsilon, delta, rate, count, beside)


@functools.lru_cache(maxsize=4096)
def _spent(steps: tuple[Steps, ...], delta: float, accountant: Accountant) -> float:
    if not steps:
        return 0.0
    counting = _accountant(accountant)
    counting.compose(_event(steps))
    return float(counting.get_epsilon(delta))


@functools.lru_cache(maxsize=4096)
def _noise_for(epsilon: float, delta: float, rate: float, count: int, beside: tuple[Steps, ...]) -> float:
    import dp_accounting

    def event(noise: float) -> Any:
        return _event((*beside, Steps(noise, rate, count)))

    def enough(noise: float) -> bool:
        return spent((*beside, Steps(noise, rate, count)), delta) <= epsilon

    if not enough(LARGEST_NOISE):
        raise ValueError(
            f"dp_epsilon = {epsilon:g} cannot be kept over {count} steps by any noise up to σ = {LARGEST_NOISE:g}: "
            "raise it, or train for fewer rounds"
        )
    if enough(SMALLEST_NOISE):
        return SMALLEST_NOISE
    bracket = dp_accounting.ExplicitBracketInterval(SMALLEST_NOISE, LARGEST_NOISE)
    found = dp_accounting.calibrate_dp_mechanism(
        lambda: _accountant("rdp"), event, epsilon, delta, bracket, tol=TOLERANCE
    )  # fmt: skip
    return float(found)


def _event(steps: Iterable[Steps]) -> Any:
    import dp_accounting  # takes a second: only runs that promise something wait for it

    def one(part: Steps) -> Any:
        gaussian = dp_accounting.GaussianDpEvent(part.noise)
        sampled = gaussian if part.rate == 1 else dp_accounting.PoissonSampledDpEvent(part.rate, gaussian)
        return dp_accounting.SelfComposedDpEvent(sampled, part.number)

    return dp_accounting.ComposedDpEvent([one(part) for part in steps])


def _accountant(kind: Accountant) -> Any:
    from dp_accounting import pld, rdp

    if kind == "rdp":
        return rdp.RdpAccountant(ORDERS)
    return pld.PLDAccountant(value_discretization_interval=1e-3)
