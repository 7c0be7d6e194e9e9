"""A promise for whole clients: what one adds to a sum is limited, and the server adds noise before it shows the sum.

A client that sends at most B flips adds ±1 at B positions. With its data replaced by any other, it flips others: the
sum of all clients' ±1 moves by no more than √(2B). Gaussian noise of standard deviation σ·√(2B) on every position
hides the client with the ε that σ buys (Dwork & Roth 2014, section 3.5; clients instead of samples: McMahan et al.,
arXiv 1710.06963). Where a share a of N clients flips a position the same way, the sum says a·N there. So it takes many
clients before their signal stands above the noise, and from how many on is arithmetic.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from deltamask.config import RunConfig
from deltamask.privacy import accountant, plan
from deltamask.privacy.accountant import Rounds
from deltamask.privacy.mechanism import Noise


def limit(config: RunConfig) -> int | None:
    """B, the most flips that a client may send; None where no promise for clients limits them."""
    return config.dp_flips if plan.protects_clients(config) else None


def released(config: RunConfig, round: int, change: npt.NDArray[np.int32], clients: int) -> npt.NDArray[np.int32]:
    """What the server shows of a round's sum: with noise on every position, where the run promises it for clients.

    change: (d,) the sum of ±1. clients: how many sent it; no position of a sum is beyond ±that, nor is it here, which
    the cut makes of the noisy sum alone and so costs no privacy.
    """
    if not plan.protects_clients(config) or not clients:
        return change
    deviation = noise_of_sum(config.dp_flips, plan.sum_noise(config))
    noise = Noise(deviation, config.seed, "dp sum", round=round)
    return np.clip(noise.added_to(change), -clients, clients).astype(np.int32)


def reach(flips: int) -> float:
    """√(2B), how far a sum moves at most if one client's data is replaced. flips: B ≥ 1, the most that one sends."""
    if flips < 1:
        raise ValueError(f"flips = {flips} is out of range: at least 1")
    return math.sqrt(2 * flips)


def noise_of_sum(flips: int, sigma: float) -> float:
    """σ·√(2B), the standard deviation on each position of the clients' sum."""
    return sigma * reach(flips)


def signal(clients: int, agreement: float) -> float:
    """a·N, what the sum says where a share a ∈ (0, 1] of the clients flip the same way."""
    if not 0 < agreement <= 1:
        raise ValueError(f"agreement = {agreement:g} is out of range: above 0, and at most 1")
    return agreement * clients


def clients_needed(flips: int, sigma: float, agreement: float) -> int:
    """The fewest clients whose signal on such a position is no smaller than the noise: ⌈σ·√(2B) / a⌉."""
    return max(1, math.ceil(noise_of_sum(flips, sigma) / signal(1, agreement) - 1e-9))


def sigma_for(epsilon: float, delta: float, rounds: int) -> float:
    """The σ with which so many rounds keep (ε, δ) for each client, every client in each. ValueError if none does."""
    return accountant.noise_for(epsilon, delta, Rounds(0.0, 1, 1, rounds))
