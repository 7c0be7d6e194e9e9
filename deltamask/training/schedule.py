"""Values that change over the rounds. Needs no torch."""

from __future__ import annotations

import math

from deltamask.config import Schedule


def scheduled(value: float, schedule: Schedule, round: int, rounds: int) -> float:
    """A value constant over the rounds 1 … rounds, or lowered by half a cosine from `value` towards 0."""
    return value if schedule == "constant" else value * 0.5 * (1 + math.cos(math.pi * (round - 1) / rounds))
