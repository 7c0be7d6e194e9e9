"""Clients of one size that hold a few classes each: McMahan et al. 2017 (arXiv 1602.05629, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from deltamask.datasets.partitions.base import Partition, Shards, check_floor, partitions, shards_of, top_up
from deltamask.datasets.spec import Groups, Labels
from deltamask.masking import noise


def split(labels: Labels, clients: int, values: Mapping[str, Any], groups: Groups | None, *, seed: int) -> Shards:
    """Samples sorted by class are cut into `clients × shards_per_client` pieces; a client gets that many at random.

    Pieces differ by one sample at most. One may reach over the border of two classes, so a client holds about
    `shards_per_client` classes. Clients below the floor are topped up from the largest one.
    """
    each, min_samples = values["shards_per_client"], values["min_client_samples"]
    check_floor(len(labels), clients, min_samples)
    if clients * each > len(labels):
        raise ValueError(
            f"clients × shards_per_client = {clients} × {each} = {clients * each} pieces is more than the "
            f"{len(labels)} samples there are: lower one of them"
        )
    rng = noise.generator(seed, "partition")
    shuffled = rng.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    owner = np.empty(len(labels), np.int64)
    for at, piece in enumerate(rng.permutation(clients * each)):
        start, stop = (len(labels) * end // (clients * each) for end in (piece, piece + 1))
        owner[by_class[start:stop]] = at // each
    top_up(owner, clients, min_samples, rng)
    return shards_of(owner, clients)


partitions.register("shards")(
    Partition(
        label="Classes a client",
        about="Every client holds the same number of samples, of about `shards_per_client` classes.",
        reads=("shards_per_client", "min_client_samples"),
        split=split,
    )
)
