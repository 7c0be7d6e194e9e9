"""What a run's rounds spend: each client's steps, its noise, and its ε so far.

All of it follows from the config and from how many samples each client holds, which are public. So a run that was
killed goes on with the same account, and everyone can compute it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from deltamask.base.registry import find
from deltamask.base.units import ceil
from deltamask.config import RunConfig
from deltamask.config.privacy_fields import PrivacyFields
from deltamask.config.run_config import default
from deltamask.privacy import accountant
from deltamask.privacy.accountant import Accountant, Steps
from deltamask.task.turns import trainers


def is_private(config: RunConfig) -> bool:
    """Does the run promise anything?"""
    return config.dp != "none"


def check(config: RunConfig, samples: Sequence[int]) -> None:
    """ValueError if a run with this config cannot keep its promise. samples: (clients,) of each client."""
    if not is_private(config):
        for name in PrivacyFields.model_fields:
            if (value := getattr(config, name)) != default(name):
                raise ValueError(f"{name} = {value:g} protects nothing without dp = samples")
        return
    if not find("method")[config.method].private:
        raise ValueError(f"dp = {config.dp}: method {config.method} does not say that it keeps the promise")
    if not find("head")[config.head_init].private:
        raise ValueError(
            f"dp = {config.dp}: head_init = {config.head_init} sends sums of features without noise; use unit-means or "
            "probe"
        )
    if not _is_probed(config) and not config.head_temperature:
        raise ValueError("head_temperature = 0 asks clients for losses without noise, which dp forbids: set it")
    if not _is_probed(config) and config.head_refit:
        raise ValueError(f"head_refit = {config.head_refit} sends statistics again, which dp does not account for")
    smallest = min(range(len(samples)), key=lambda client: samples[client])
    if samples[smallest] < config.batch_size:
        raise ValueError(
            f"batch_size = {config.batch_size} is larger than client {smallest}'s {samples[smallest]} samples, of "
            "which dp draws its batches: lower batch_size, or raise min_client_samples"
        )
    for client, count in enumerate(samples):
        if not config.dp_noise and steps_until(config, client, count, config.rounds):
            noise_of(config, client, count)


def rate_of(config: RunConfig, samples: int) -> float:
    """q, the chance of each sample of a client with so many to be in a step's batch."""
    return config.batch_size / samples


def steps_in(config: RunConfig, samples: int, epochs: int) -> int:
    """Steps of so many epochs: as many as there would be batches."""
    return epochs * ceil(samples / config.batch_size)


def steps_until(config: RunConfig, client: int, samples: int, round: int) -> int:
    """Noisy steps that a client takes up to and with a round. One that vanished counts as if it had answered."""
    turns = int(_turns(config)[round, client]) if _trains(config) else 0
    head = client in trainers(config, 0) and _is_probed(config)
    return steps_in(config, samples, turns * config.local_epochs + head * config.probe_epochs)


def noise_of(config: RunConfig, client: int, samples: int) -> float:
    """σ of a client's steps: `dp_noise`, or the least with which its ε lasts for all rounds. Raises ValueError."""
    count = steps_until(config, client, samples, config.rounds)
    if config.dp_noise or not count:
        return config.dp_noise
    return accountant.noise_for(
        config.dp_epsilon, config.dp_delta, rate_of(config, samples), count, _head_release(config)
    )  # fmt: skip


def spent_by(config: RunConfig, client: int, samples: int, round: int) -> tuple[Steps, ...]:
    """What a client has done up to and with a round."""
    count = steps_until(config, client, samples, round)
    trained = (Steps(noise_of(config, client, samples), rate_of(config, samples), count),) if count else ()
    return _head_release(config) + trained


def epsilon(config: RunConfig, samples: Sequence[int], round: int, by: Accountant = "rdp") -> float:
    """ε spent up to and with a round: that of the client which has spent most. samples: (clients,)."""
    return max(
        accountant.spent(spent_by(config, client, count, round), config.dp_delta, by)
        for client, count in enumerate(samples)
    )


def is_spent(config: RunConfig, samples: Sequence[int], round: int) -> bool:
    """Would this round spend more than the run has? Never where the noise was found for all rounds."""
    return is_private(config) and config.dp_noise > 0 and epsilon(config, samples, round) > config.dp_epsilon


def head_noise(config: RunConfig) -> float:
    """σ of the statistics that every client sends once, over the most that one sample adds; 0 where none are noisy."""
    if not is_private(config) or _is_probed(config) or not find("head")[config.head_init].private:
        return 0.0
    share = config.dp_head_share if _trains(config) else 1.0
    return accountant.noise_for(share * config.dp_epsilon, config.dp_delta, 1.0, 1)


def _head_release(config: RunConfig) -> tuple[Steps, ...]:
    """What the head's statistics spend: one step of everybody with all samples."""
    noise = head_noise(config)
    return (Steps(noise, 1.0, 1),) if noise else ()


def _is_probed(config: RunConfig) -> bool:
    return config.head_init == "probe"


def _trains(config: RunConfig) -> bool:
    """Does a client's work after the head touch its samples?"""
    return bool(find("method")[config.method].sends != "nothing")


@functools.lru_cache(maxsize=8)
def _turns(config: RunConfig) -> npt.NDArray[np.int32]:
    """(rounds + 1, clients) in how many of the rounds 1 … r each client trains."""
    turns = np.zeros((config.rounds + 1, config.clients), np.int32)
    for round in range(1, config.rounds + 1):
        turns[round, trainers(config, round)] = 1
    return turns.cumsum(0, dtype=np.int32)
