"""What must hold for a partition: each sample goes to one client, none is below the floor, and the seed decides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from deltamask.codecs.conformance import Broken
from deltamask.config import RunConfig, default
from deltamask.datasets import Groups
from deltamask.datasets.partitions import Partition, Shards

SAMPLES, CLASSES, CLIENTS, FLOOR = 600, 5, 12, 8


def dealt(partition: Partition, *, seed: int = 0, **changes: Any) -> Shards:
    """The samples of twelve clients, from 600 samples of five classes made by twelve authors."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, CLASSES, SAMPLES)
    groups = Groups(tuple(f"author {at}" for at in range(CLIENTS)), np.arange(SAMPLES) % CLIENTS)
    values = {name: default(name) for name in partition.reads} | {"min_client_samples": FLOOR} | changes
    return partition.split(labels, CLIENTS, values, groups, seed=seed)


def every_sample_goes_to_one_client(partition: Partition) -> None:
    """No sample twice, none left out, each client's in rising order."""
    shards = dealt(partition)
    if len(shards) != CLIENTS:
        raise Broken(f"{len(shards)} shards for {CLIENTS} clients")
    if not np.array_equal(np.sort(np.concatenate(shards)), np.arange(SAMPLES)):
        raise Broken("samples were left out or dealt twice")
    if any((np.diff(shard) <= 0).any() for shard in shards):
        raise Broken("a client's samples are not in rising order")


def nobody_is_below_the_floor(partition: Partition) -> None:
    """Every client holds `min_client_samples` at least; more than there are is refused."""
    if (smallest := min(len(shard) for shard in dealt(partition))) < FLOOR:
        raise Broken(f"a client holds {smallest} samples, {FLOOR} are the least")
    try:
        dealt(partition, min_client_samples=SAMPLES)
    except ValueError:
        return
    raise Broken(f"{CLIENTS} × {SAMPLES} samples were dealt out of {SAMPLES}")


def the_seed_decides(partition: Partition) -> None:
    """The same seed gives the same shards."""
    first, second = dealt(partition, seed=3), dealt(partition, seed=3)
    if any(not np.array_equal(one, other) for one, other in zip(first, second, strict=True)):
        raise Broken("the same seed gave different shards")


def it_reads_fields_that_exist(partition: Partition) -> None:
    """Every name in `reads` is a field of RunConfig."""
    if unknown := set(partition.reads) - set(RunConfig.model_fields):
        raise Broken(f"reads names {', '.join(sorted(unknown))}: no such fields")


LAWS: dict[str, Callable[[Partition], None]] = {
    law.__name__.replace("_", " "): law
    for law in (
        it_reads_fields_that_exist,
        every_sample_goes_to_one_client,
        nobody_is_below_the_floor,
        the_seed_decides,
    )
}
