"""What a partition is: a rule that deals the training samples out to the clients. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from deltamask.base.registry import Registry
from deltamask.config import RunConfig
from deltamask.datasets.spec import Groups, Labels

Shards = list[npt.NDArray[np.int64]]  # of each client: the sorted indices of its samples


class Split(Protocol):
    """Deals the samples out: each to exactly one client, and at least `min_client_samples` to every client.

    labels: (n,) class indices. values: the RunConfig fields that the partition reads. groups: the dataset's own
    clients, where it has some. seed: the run's. ValueError, saying what to change, where that cannot be done.
    """

    def __call__(
        self, labels: Labels, clients: int, values: Mapping[str, Any], groups: Groups | None, *, seed: int
    ) -> Shards: ...


@dataclass(frozen=True)
class Partition:
    """A partition's entry. label: its name in a form. about: one line on how clients differ. split: the rule.

    reads: the RunConfig fields that change the split, besides clients and seed. natural: it needs a dataset with groups
    of its own.
    """

    label: str
    about: str
    reads: tuple[str, ...]
    split: Split
    natural: bool = False


partitions: Registry[Partition] = Registry("partition")


def split(config: RunConfig, labels: Labels, groups: Groups | None = None) -> Shards:
    """Who holds which of the samples, by the config's partition. groups: of the same samples, in their order.

    ValueError, saying what to change, where the samples cannot be dealt out so; KeyError for an unknown partition.
    """
    partition = partitions[config.partition]
    if partition.natural and groups is None:
        raise ValueError(
            f"partition = {config.partition!r} needs a dataset with clients of its own, and "
            f"{config.dataset!r} has none: choose another partition, or `clients:PATH`, a folder of images for each "
            f"client"
        )
    values = {name: getattr(config, name) for name in partition.reads}
    return partition.split(labels, config.clients, values, groups, seed=config.seed)


def check_floor(samples: int, clients: int, min_samples: int) -> None:
    """ValueError if there are too few samples for every client to hold `min_samples`."""
    if clients * min_samples > samples:
        raise ValueError(f"{clients} clients × {min_samples} samples each is more than the {samples} there are")


def top_up(owner: npt.NDArray[np.int64], clients: int, min_samples: int, rng: np.random.Generator) -> None:
    """Move samples, in place, from the largest clients to those below the floor. owner: (n,) the client of each."""
    sizes = np.bincount(owner, minlength=clients)
    for client in np.flatnonzero(sizes < min_samples):
        while sizes[client] < min_samples:
            donor = int(np.argmax(sizes))
            count = min(min_samples - sizes[client], sizes[donor] - min_samples)
            moved = rng.choice(np.flatnonzero(owner == donor), count, replace=False)
            owner[moved] = client
            sizes[donor] -= count
            sizes[client] += count


def shards_of(owner: npt.NDArray[np.int64], clients: int) -> Shards:
    """The samples of each client, from the client of each sample."""
    order = np.argsort(owner, kind="stable")
    return np.split(order, np.searchsorted(owner[order], np.arange(1, clients)))


def label_counts(labels: Labels, shards: Shards, num_classes: int) -> npt.NDArray[np.int64]:
    """(clients, classes): how many samples of each class a client holds."""
    return np.stack([np.bincount(labels[shard], minlength=num_classes) for shard in shards])
