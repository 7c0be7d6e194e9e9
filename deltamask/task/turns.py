"""Who trains in which round. Keyed by (seed, round): everyone can compute it. Needs no torch."""

from __future__ import annotations

from deltamask.config import RunConfig
from deltamask.masking import noise


def trainers(config: RunConfig, round: int) -> list[int]:
    """The K = ⌈ρN⌉ clients sampled to train, in id order."""
    rng = noise.generator(config.seed, "participation", round=round)
    return sorted(rng.choice(config.clients, config.clients_per_round, replace=False).tolist())
