"""A lower bound on ε from one run (Steinke, Nasr & Jagielski 2023, arXiv 2305.08846).

Canaries are samples whose trace can be looked for. Each is put in or left out by a coin of its own; whoever sees what
was released guesses which were in, and may pass. Under (ε, δ)-differential privacy at most so many guesses are right,
however clever they are: more, and the promise does not hold. A proven ε stands above the bound, or one is wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

HALVINGS = 40  # of the interval that ε is searched in
LARGEST = 64.0  # ε


@dataclass(frozen=True)
class Audit:
    """guesses: how many were made; correct: of them; epsilon: the lower bound."""

    guesses: int
    correct: int
    epsilon: float


def audit(
    scores: npt.NDArray[np.float64],
    included: npt.NDArray[np.bool_],
    guesses: int,
    delta: float,
    confidence: float = 0.95,
) -> Audit:
    """Guess `in` for the highest scores and `out` for the lowest, half of the guesses each, and pass on the others.

    scores: (canaries,) how much each seems to have been in; included: (canaries,) by fair coins, which was.
    """
    order = np.argsort(scores, kind="stable")
    half = guesses // 2
    correct = int((~included[order[:half]]).sum() + included[order[len(order) - half :]].sum())
    return Audit(2 * half, correct, lower_bound(len(scores), 2 * half, correct, delta, confidence))


def lower_bound(canaries: int, guesses: int, correct: int, delta: float, confidence: float = 0.95) -> float:
    """The largest ε that so many right guesses refute with this confidence; 0 if none."""
    low, high = 0.0, LARGEST
    if chance(canaries, guesses, correct, 0.0, delta) > 1 - confidence:
        return 0.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if chance(canaries, guesses, correct, middle, delta) <= 1 - confidence:
            low = middle
        else:
            high = middle
    return low


def chance(canaries: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """How likely so many right guesses, or more, are at most under (ε, δ)-differential privacy (their theorem 5.2)."""
    right = 1 / (1 + math.exp(-epsilon))
    most = float(stats.binom.sf(correct - 1, guesses, right))
    below = stats.binom.pmf(np.arange(correct - 1, -1, -1), guesses, right).cumsum()  # P[v > X ≥ v − i], i = 1, 2, …
    slack = float((below / np.arange(1, correct + 1)).max(initial=0.0))
    return min(1.0, most + 2 * canaries * delta * slack)
