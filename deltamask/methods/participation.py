"""Who trains in a round, and who answers in it. Keyed by (seed, round): everyone can compute it."""

from __future__ import annotations

from deltamask.config import RunConfig
from deltamask.heads import closed_form
from deltamask.methods.base import methods
from deltamask.task.turns import trainers


def is_everybodys(config: RunConfig) -> bool:
    """Does every client answer in round 0, sampled or not? One that came later could not add its part any more."""
    return closed_form(config.head_init) is not None


def refits_head(config: RunConfig, round: int) -> bool:
    """Is the head found again in this round: every `head_refit` rounds, and in the last?

    Never where it was trained instead of computed, or where it is what the method learns.
    """
    every = config.head_refit
    if not (every and round) or methods[config.method].refit is None or closed_form(config.head_init) is None:
        return False
    return round % every == 0 or round == config.rounds


def sampled_clients(config: RunConfig, round: int) -> list[int]:
    """Who answers, in id order: those who train, and all clients where statistics for the head are asked of all."""
    everybody = is_everybodys(config) if round == 0 else refits_head(config, round)
    return list(range(config.clients)) if everybody else trainers(config, round)
