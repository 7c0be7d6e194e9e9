"""Clients that differ in how much they hold and in nothing else: sizes by a power law, labels alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from deltamask.datasets.partitions.base import Partition, Shards, check_floor, partitions, shards_of
from deltamask.datasets.spec import Groups, Labels
from deltamask.masking import noise


def sizes(samples: int, clients: int, exponent: float, min_samples: int) -> npt.NDArray[np.int64]:
    """(clients,) from the largest: min_samples each, and the rest in proportion to 1, 2^−a, 3^−a, …, N^−a.

    They sum to `samples`; rounded by largest remainder.
    """
    check_floor(samples, clients, min_samples)
    weights = np.arange(1, clients + 1, dtype=np.float64) ** -exponent
    exact = (samples - clients * min_samples) * weights / weights.sum()
    whole = np.floor(exact).astype(np.int64)
    left = samples - clients * min_samples - int(whole.sum())
    whole[np.argsort(whole - exact, kind="stable")[:left]] += 1
    return np.sort(whole)[::-1] + min_samples


def split(labels: Labels, clients: int, values: Mapping[str, Any], groups: Groups | None, *, seed: int) -> Shards:
    """Sizes as above, in a random order of the clients; which samples a client holds is drawn uniformly."""
    amount = sizes(len(labels), clients, values["size_exponent"], values["min_client_samples"])
    rng = noise.generator(seed, "partition")
    owner = np.repeat(rng.permutation(clients), amount)
    return shards_of(owner[rng.permutation(len(labels))], clients)


partitions.register("quantity")(
    Partition(
        label="Size",
        about="Clients hold all classes alike; their sizes follow a power law, the r-th largest r^−a of the largest.",
        reads=("size_exponent", "min_client_samples"),
        split=split,
    )
)
