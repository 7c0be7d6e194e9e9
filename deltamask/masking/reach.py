"""Which flips local training can have made: u is public, so anyone can tell how far a score would have had to move.

A position flips only if θ_k lies on the other side of u than θ_g. In `steps` steps of Adam with step size lr, from zero
moments and with bias correction, a score moves by at most lr·Σ_t R_t, where R_t is the largest |m̂_t|/√v̂_t there is. By
Cauchy and Schwarz, with r = β₁²/β₂ and gradients in proportion to (β₁/β₂)^(t−i), for which it is an equality,

    R_t = (1−β₁)/√(1−β₂) · √((1−r^t)/(1−r)) · √(1−β₂^t)/(1−β₁^t).

For β₁ = 0.9 and β₂ = 0.999, R_1 = 1 and R_t rises to 7.2703. On average over the steps it is 1.05 for 19 of them, 1.61
for 100, 4.23 for 1000. A sum of the largest steps is not reached exactly, as each wants other gradients, but constant
ones reach lr·steps. Adam's ε only makes steps smaller, and so does the scores' clip.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from deltamask.masking.masks import ONE, SCORE_CLIP, THETA_MAX, THETA_MIN, Positions, Theta
from deltamask.masking.noise import Words

BETA1, BETA2 = 0.9, 0.999  # torch's, and ours
ROUNDING = 1e-3  # scores are float32: their share of the way, and the same in score units
Table = npt.NDArray[np.int64]


def largest_step(step: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """R_t: the most that Adam moves in its t-th step, in multiples of lr. step: t, from 1."""
    r = BETA1**2 / BETA2
    gain = (1 - BETA1) / np.sqrt(1 - BETA2) * np.sqrt((1 - r**step) / (1 - r))
    return np.asarray(gain * np.sqrt(1 - BETA2**step) / (1 - BETA1**step))


def distance(lr: float, steps: int) -> float:
    """The most that a score moves in so many steps."""
    return lr * float(largest_step(np.arange(1, steps + 1, dtype=np.float64)).sum())


@functools.lru_cache(maxsize=64)
def reachable(lr: float, steps: int) -> tuple[Table, Table]:
    """(lowest, highest) θ_k by θ_g, both in fixed point, the tables (2¹⁶,); θ_g outside its range reaches everything.

    A unit is added on both sides, since θ_k is rounded.
    """
    reach = min(distance(lr, steps), 2 * SCORE_CLIP) * (1 + ROUNDING) + ROUNDING
    theta = np.arange(THETA_MIN, THETA_MAX + 1) / ONE
    scores = np.log(theta / (1 - theta))
    lowest, highest = np.zeros(ONE, np.int64), np.full(ONE, ONE, np.int64)
    inside = slice(THETA_MIN, THETA_MAX + 1)
    lowest[inside] = np.floor(ONE / (1 + np.exp(-(scores - reach).clip(-SCORE_CLIP)))) - 1
    highest[inside] = np.ceil(ONE / (1 + np.exp(-(scores + reach).clip(max=SCORE_CLIP)))) + 1
    return lowest, highest


def possible(positions: Positions, theta: Theta, u: Words, lr: float, steps: int) -> npt.NDArray[np.bool_]:
    """Which of these flips `steps` steps of lr can have made. theta: (d,) θ_g; u: (d,) of the client."""
    lowest, highest = reachable(lr, steps)
    there, words = theta[positions], u[positions].astype(np.int64)
    return np.where(words < there, lowest[there] <= words, words < highest[there])
