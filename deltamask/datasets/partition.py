"""Who holds which samples: a Dirichlet split of the labels. Needs no torch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deltamask.datasets import Labels
from deltamask.masking import noise

Shards = list[npt.NDArray[np.int64]]


def dirichlet_split(labels: Labels, clients: int, alpha: float, min_samples: int, *, seed: int) -> Shards:
    """Sorted sample indices of each client; every sample goes to exactly one.

    For each class, its samples are dealt out in proportions drawn from Dirichlet(α, …, α) over the clients (Yurochkin
    et al. 2019, arXiv 1905.12022; Hsu et al. 2019, arXiv 1909.06335), so small α makes clients differ both in what they
    hold and in how much. Clients below `min_samples` are then topped up from the largest one. ValueError if there are
    too few samples for that floor.
    """
    if clients * min_samples > len(labels):
        raise ValueError(f"{clients} clients × {min_samples} samples each is more than the {len(labels)} there are")
    rng = noise.generator(seed, "partition")
    owner = np.empty(len(labels), np.int64)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        cuts = np.floor(np.cumsum(rng.dirichlet(np.full(clients, alpha))) * len(members) + 1e-9).astype(np.int64)
        owner[members] = np.searchsorted(cuts[:-1], np.arange(len(members)), side="right")
    _top_up(owner, clients, min_samples, rng)
    order = np.argsort(owner, kind="stable")
    return np.split(order, np.searchsorted(owner[order], np.arange(1, clients)))


def _top_up(owner: npt.NDArray[np.int64], clients: int, min_samples: int, rng: np.random.Generator) -> None:
    """Move samples, in place, from the largest clients to those below the floor."""
    sizes = np.bincount(owner, minlength=clients)
    for client in np.flatnonzero(sizes < min_samples):
        while sizes[client] < min_samples:
            donor = int(np.argmax(sizes))
            count = min(min_samples - sizes[client], sizes[donor] - min_samples)
            moved = rng.choice(np.flatnonzero(owner == donor), count, replace=False)
            owner[moved] = client
            sizes[donor] -= count
            sizes[client] += count


def label_counts(labels: Labels, shards: Shards, num_classes: int) -> npt.NDArray[np.int64]:
    """(clients, classes): how many samples of each class a client holds."""
    return np.stack([np.bincount(labels[shard], minlength=num_classes) for shard in shards])
