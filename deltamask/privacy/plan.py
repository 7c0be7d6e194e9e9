"""What a run's rounds spend: each client's steps, or the server's sums, their noise, and ε so far.

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
from deltamask.privacy.accountant import Accountant, Part, Rounds, Steps
from deltamask.task.turns import trainers


def is_private(config: RunConfig) -> bool:
    """Does the run promise anything?"""
    return config.dp != "none"


def protects_samples(config: RunConfig) -> bool:
    """Does it promise something for each training sample?"""
    return config.dp == "samples"


def protects_clients(config: RunConfig) -> bool:
    """Does it promise something for each client?"""
    return config.dp == "clients"


def check(config: RunConfig, samples: Sequence[int]) -> None:
    """ValueError if a run with this config cannot keep its promise. samples: (clients,) of each client."""
    for name in PrivacyFields.model_fields:
        if name != "dp" and config.dp not in _read_with(name) and (value := getattr(config, name)) != default(name):
            needed = " or ".join(_read_with(name))
            raise ValueError(f"{name} = {value:g} protects nothing without dp = {needed}")
    if not is_private(config):
        return
    if config.dp not in find("method")[config.method].private:
        raise ValueError(f"dp = {config.dp}: method {config.method} does not say that it keeps the promise")
    heads = find("head")
    if config.dp not in heads[config.head_init].private:
        keep = [name for name in heads.names() if config.dp in heads[name].private]
        raise ValueError(
            f"dp = {config.dp}: head_init = {config.head_init} sends what it finds in features without the noise that "
            f"this takes; use {' or '.join(keep)}"
        )
    if not _is_probed(config) and not config.head_temperature:
        raise ValueError("head_temperature = 0 asks clients for losses without noise, which dp forbids: set it")
    if not _is_probed(config) and config.head_refit:
        raise ValueError(f"head_refit = {config.head_refit} sends statistics again, which dp does not account for")
    if protects_clients(config):
        _check_sums(config)
        return
    smallest = min(range(len(samples)), key=lambda client: samples[client])
    if samples[smallest] < config.batch_size:
        raise ValueError(
            f"batch_size = {config.batch_size} is larger than client {smallest}'s {samples[smallest]} samples, of "
            "which dp draws its batches: lower batch_size, or raise min_client_samples"
        )
    for client, count in enumerate(samples):
        if not config.dp_noise and steps_until(config, client, count, config.rounds):
            noise_of(config, client, count)


def _read_with(field: str) -> tuple[str, ...]:
    """The promises with which a field of PrivacyFields is read."""
    return {"dp_clip": ("samples",), "dp_flips": ("clients",)}.get(field, ("samples", "clients"))


def _check_sums(config: RunConfig) -> None:
    """ValueError if noise on the clients' sum would not be all that is shown of it, or if no noise is enough."""
    codec_of = find("method")[config.method].flip_codec
    if codec_of is not None:
        if config.aggregation != "unbiased":
            raise ValueError(
                f"dp = clients adds noise to the sum of flips, which aggregation = {config.aggregation} does not read: "
                "use unbiased"
            )
        if not find("codec")[codec_of(config)].exact:
            raise ValueError(
                f"dp = clients limits how many flips a client sends, and codec = {codec_of(config)} answers more than "
                "were sent: use an exact one, such as gap"
            )
    if config.robust != default("robust"):
        raise ValueError(
            f"robust = {config.robust} weighs one client's message by the others', which dp = clients does not account "
            "for"
        )
    sum_noise(config)


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
        config.dp_epsilon, config.dp_delta, Steps(0.0, rate_of(config, samples), count), _head_release(config)
    )


def sum_noise(config: RunConfig) -> float:
    """σ of the server's sums, over how far replacing one client moves them: as `noise_of`. Raises ValueError."""
    if config.dp_noise or not _trains(config):
        return config.dp_noise
    return accountant.noise_for(
        config.dp_epsilon, config.dp_delta, _sums(config, 0.0, config.rounds), _head_release(config)
    )


def _sums(config: RunConfig, noise: float, number: int) -> Rounds:
    return Rounds(noise, config.clients_per_round, config.clients, number)


def spent_by(config: RunConfig, client: int, samples: int, round: int) -> tuple[Part, ...]:
    """What a client has done up to and with a round; with a promise for clients, what the server has shown by then."""
    if protects_clients(config):
        shown = (_sums(config, sum_noise(config), round),) if round and _trains(config) else ()
        return _head_release(config) + shown
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
    """σ of the statistics for the head, over the most that one sample adds, or that replacing a client changes; 0 where
    none are noisy."""
    if not is_private(config) or _is_probed(config) or config.dp not in find("head")[config.head_init].private:
        return 0.0
    share = config.dp_head_share if _trains(config) else 1.0
    return accountant.noise_for(share * config.dp_epsilon, config.dp_delta, _statistics(config, 0.0))


def _head_release(config: RunConfig) -> tuple[Part, ...]:
    """What the head's statistics spend."""
    noise = head_noise(config)
    return (_statistics(config, noise),) if noise else ()


def _statistics(config: RunConfig, noise: float) -> Part:
    """One step of each client with all its samples, or one sum over all clients."""
    return Rounds(noise, config.clients, config.clients, 1) if protects_clients(config) else Steps(noise, 1.0, 1)


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
