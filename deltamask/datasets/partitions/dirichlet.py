"""Clients that differ in what they hold and in how much: a Dirichlet draw for each class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from deltamask.datasets.partitions.base import Partition, Shards, check_floor, partitions, shards_of, top_up
from deltamask.datasets.spec import Groups, Labels
from deltamask.masking import noise


def dirichlet_split(labels: Labels, clients: int, alpha: float, min_samples: int, *, seed: int) -> Shards:
    """Sorted sample indices of each client; every sample goes to exactly one.

    For each class, its samples are dealt out in proportions drawn from Dirichlet(α, …, α) over the clients (Yurochkin
    et al. 2019, arXiv 1905.12022; Hsu et al. 2019, arXiv 1909.06335), so small α makes clients differ both in what they
    hold and in how much. Clients below `min_samples` are then topped up from the largest one. ValueError if there are
    too few samples for that floor.
    """
    check_floor(len(labels), clients, min_samples)
    rng = noise.generator(seed, "partition")
    owner = draw(labels, clients, alpha, rng)
    top_up(owner, clients, min_samples, rng)
    return shards_of(owner, clients)


def draw(labels: Labels, clients: int, alpha: float, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """(n,) the client of each sample, before any client is topped up."""
    owner = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        cuts = np.floor(np.cumsum(rng.dirichlet(np.full(clients, alpha))) * len(members) + 1e-9).astype(np.int64)
        owner[members] = np.searchsorted(cuts[:-1], np.arange(len(members)), side="right")
    return owner


def split(labels: Labels, clients: int, values: Mapping[str, Any], groups: Groups | None, *, seed: int) -> Shards:
    """The rule above, from the config's fields."""
    return dirichlet_split(labels, clients, values["dirichlet_alpha"], values["min_client_samples"], seed=seed)


partitions.register("dirichlet")(
    Partition(
        label="Dirichlet",
        about="Each class is dealt out in shares drawn from Dirichlet(α): small α makes clients differ in what "
        "they hold and in how much.",
        reads=("dirichlet_alpha", "min_client_samples"),
        split=split,
    )
)
