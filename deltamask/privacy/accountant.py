"""What noisy steps spend of ε, by Google's `dp-accounting`.

A step draws each sample with the same chance q (Poisson sampling), adds up their gradients, none longer than C, and
adds Gaussian noise of standard deviation σ·C. Two sets of samples are neighbours if one has one sample more. Rényi
accounting (RDP; Mironov 2017, arXiv 1702.07476) is what runs count by: fast, and an upper bound. The privacy loss
distribution (PLD; Koskela et al., arXiv 1906.03049) is closer to the truth, so its ε is smaller.

A sum over clients is counted alike, but K of N clients are drawn for it without replacement, and neighbours differ in
one client's data, replaced by any other (Wang et al. 2019, arXiv 1808.00087; only by RDP where K < N).
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


class Rounds(NamedTuple):
    """So many noisy sums over clients. noise: σ, over how far a sum moves if one client's data is replaced. chosen: K
    of the N `clients`, drawn for each sum."""

    noise: float
    chosen: int
    clients: int
    number: int


Part = Steps | Rounds


def spent(parts: Iterable[Part], delta: float, accountant: Accountant = "rdp") -> float:
    """ε of all these on the same samples, or clients, whichever runs they belong to; 0 of none. delta: in (0, 1)."""
    return _spent(tuple(sorted(part for part in parts if part.number)), delta, accountant)


def noise_for(epsilon: float, delta: float, part: Part, beside: tuple[Part, ...] = ()) -> float:
    """The least σ with which `part`, whatever its own σ, and what is spent beside it stay within ε by RDP.

    ValueError if no σ up to LARGEST_NOISE does.
    """
    return _noise_for(epsilon, delta, part._replace(noise=0.0), beside)


@functools.lru_cache(maxsize=4096)
def _spent(parts: tuple[Part, ...], delta: float, accountant: Accountant) -> float:
    if not parts:
        return 0.0
    counting = _accountant(accountant, parts)
    counting.compose(_event(parts))
    return float(counting.get_epsilon(delta))


@functools.lru_cache(maxsize=4096)
def _noise_for(epsilon: float, delta: float, part: Part, beside: tuple[Part, ...]) -> float:
    import dp_accounting

    def event(noise: float) -> Any:
        return _event((*beside, part._replace(noise=noise)))

    def enough(noise: float) -> bool:
        return spent((*beside, part._replace(noise=noise)), delta) <= epsilon

    if not enough(LARGEST_NOISE):
        raise ValueError(
            f"dp_epsilon = {epsilon:g} cannot be kept over {part.number} {type(part).__name__.lower()} by any noise "
            f"up to σ = {LARGEST_NOISE:g}: raise it, or train for fewer rounds"
        )
    if enough(SMALLEST_NOISE):
        return SMALLEST_NOISE
    bracket = dp_accounting.ExplicitBracketInterval(SMALLEST_NOISE, LARGEST_NOISE)
    found = dp_accounting.calibrate_dp_mechanism(
        lambda: _accountant("rdp", (part,)), event, epsilon, delta, bracket, tol=TOLERANCE
    )  # fmt: skip
    return float(found)


def _event(parts: Iterable[Part]) -> Any:
    import dp_accounting  # takes a second: only runs that promise something wait for it

    def one(part: Part) -> Any:
        sampled = dp_accounting.GaussianDpEvent(part.noise)
        if isinstance(part, Rounds) and part.chosen < part.clients:
            sampled = dp_accounting.SampledWithoutReplacementDpEvent(part.clients, part.chosen, sampled)
        elif isinstance(part, Steps) and part.rate < 1:
            sampled = dp_accounting.PoissonSampledDpEvent(part.rate, sampled)
        return dp_accounting.SelfComposedDpEvent(sampled, part.number)

    return dp_accounting.ComposedDpEvent([one(part) for part in parts])


def _accountant(kind: Accountant, parts: Iterable[Part]) -> Any:
    from dp_accounting import NeighboringRelation, pld, rdp

    replaced = any(isinstance(part, Rounds) for part in parts)
    neighbours = NeighboringRelation.REPLACE_ONE if replaced else NeighboringRelation.ADD_OR_REMOVE_ONE
    if kind == "rdp":
        return rdp.RdpAccountant(ORDERS, neighbours)
    return pld.PLDAccountant(neighbours, value_discretization_interval=1e-3)
