"""The server's estimators of θ_g. Integers in, fixed point out, identical on every machine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deltamask.base.units import ceil
from deltamask.masking.masks import ONE, THETA_MAX, THETA_MIN, Theta

Counts = npt.NDArray[np.int32]


def beta(ones: Counts, seen: int) -> Theta:
    """The Beta posterior's mode, (α − 1)/(α + β − 2) with α = 1 + ones and β = 1 + seen − ones (λ₀ = 1).

    ones: (d,) how many of the `seen` decoded masks since the last reset have the bit set.
    """
    table = _fixed(ONE * np.arange(seen + 1) / seen)  # one entry for each possible count
    return table[ones]


def smoothed(theta: Theta, smoothing: float) -> Theta:
    """ε + (1 − 2ε)·θ: the mean of masks whose bits count as ε and 1 − ε. smoothing: ε, in [0, ½)."""
    unit = round(smoothing * ONE)
    return _fixed(unit + ((ONE - 2 * unit) * theta.astype(np.int64) + ONE // 2) // ONE) if unit else theta


def damped(theta: Theta, goal: Theta, server_lr: float) -> Theta:
    """θ_g ← θ_g + η·(goal − θ_g). goal: what the masks say; with η = 1 it is the answer."""
    unit = round(server_lr * ONE)
    step = (unit * (goal.astype(np.int64) - theta) + ONE // 2) // ONE
    return _fixed(theta + step)


def unbiased(theta: Theta, change: Counts, received: int, server_lr: float) -> Theta:
    """θ_g ← clip(θ_g + η · mean(m̂_k − m_g,k)).

    change: (d,) Σ_k (m̂_k − m_g,k), between −received and received.
    """
    steps = np.rint(server_lr * ONE * np.arange(-received, received + 1) / received).astype(np.int64)
    return _fixed(theta + steps[change + received])


THRESHOLD_MARGIN = 1.0  # how far from ½ a unanimous vote of thresholded masks puts a score


def likeliest(theta: Theta, clients: int) -> Counts:
    """The likeliest number of ones among `clients` masks drawn from θ, (d,): n·θ, rounded."""
    return np.rint(clients * (theta.astype(np.float64) / ONE)).astype(np.int32)


def thresholded(ones: Counts, seen: int) -> Theta:
    """FedMask's average of thresholded masks, as scores that learning can still carry across the threshold.

    θ_g = σ(c·(2·ones/seen − 1)): a score of ±c where all agree, 0 where they are divided.
    """
    votes = 2 * np.arange(seen + 1) / seen - 1
    return _fixed(ONE / (1 + np.exp(-THRESHOLD_MARGIN * votes)))[ones]


def agreed(theta: Theta, clients: int) -> Counts:
    """The number of ones among `clients` thresholded masks [θ > ½], (d,), where all agree with θ_g."""
    return clients * (theta > ONE // 2).astype(np.int32)


def _fixed(value: npt.NDArray[np.floating] | npt.NDArray[np.int64]) -> Theta:
    return np.rint(np.clip(value, THETA_MIN, THETA_MAX)).astype(np.uint16)


def reset_priors(round: int, rho: float) -> bool:
    """Priors start afresh every ⌈1/ρ⌉ rounds (round counts from 1)."""
    return (round - 1) % ceil(1 / rho) == 0
