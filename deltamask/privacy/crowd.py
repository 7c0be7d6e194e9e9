"""Arithmetic of a promise for whole clients: how many must take part before their signal stands above the noise.

Nothing here is measured, and no run makes this promise. A client that sends at most B flips changes the sum of all
clients' ±1 by a vector no longer than √B. Gaussian noise of standard deviation σ·√B on every position of that sum
therefore hides a client with the ε that σ buys (Dwork & Roth 2014, section 3.5; clients instead of samples: McMahan et
al., arXiv 1710.06963). Where a share a of N clients flips a position the same way, the sum says a·N there.
"""

from __future__ import annotations

import math

from deltamask.privacy import accountant


def noise_of_sum(flips: int, sigma: float) -> float:
    """σ·√B, the standard deviation on each position of the clients' sum. flips: B ≥ 1, the most that one sends."""
    if flips < 1:
        raise ValueError(f"flips = {flips} is out of range: at least 1")
    return sigma * math.sqrt(flips)


def signal(clients: int, agreement: float) -> float:
    """a·N, what the sum says where a share a ∈ (0, 1] of the clients flip the same way."""
    if not 0 < agreement <= 1:
        raise ValueError(f"agreement = {agreement:g} is out of range: above 0, and at most 1")
    return agreement * clients


def clients_needed(flips: int, sigma: float, agreement: float) -> int:
    """The fewest clients whose signal on such a position is no smaller than the noise: ⌈σ·√B / a⌉."""
    return max(1, math.ceil(noise_of_sum(flips, sigma) / signal(1, agreement) - 1e-9))


def sigma_for(epsilon: float, delta: float, rounds: int) -> float:
    """The σ with which so many rounds keep (ε, δ) for each client, every client in each. ValueError if none does."""
    return accountant.noise_for(epsilon, delta, 1.0, rounds)
