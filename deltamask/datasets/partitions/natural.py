"""Clients that the dataset brings itself: who took the photographs, who wrote, where a text comes from."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from deltamask.datasets.partitions.base import Partition, Shards, check_floor, partitions, shards_of, top_up
from deltamask.datasets.partitions.dirichlet import draw
from deltamask.datasets.spec import Groups, Labels
from deltamask.masking import noise


def split(labels: Labels, clients: int, values: Mapping[str, Any], groups: Groups | None, *, seed: int) -> Shards:
    """No client mixes samples of two groups that could stay apart.

    As many clients as groups: each group is one, in the groups' order. Fewer: whole groups are put together, the
    largest first, each to the client that holds least. More: each group is shared out among several clients, in
    proportion to its size, and within it as `dirichlet` does. ValueError where a client would stay below the floor:
    samples are never moved from one group to another.
    """
    if groups is None:
        raise ValueError("partition = 'natural' needs a dataset with clients of its own: choose another partition")
    min_samples = values["min_client_samples"]
    check_floor(len(labels), clients, min_samples)
    amount = np.bincount(groups.of, minlength=len(groups.names))
    if clients > len(amount):
        return _shared_out(labels, clients, values, groups, amount, noise.generator(seed, "partition"))
    owner = np.arange(len(amount)) if clients == len(amount) else _put_together(amount, clients)
    shards = shards_of(owner[groups.of], clients)
    for client, shard in enumerate(shards):
        if len(shard) < min_samples:
            names = " + ".join(groups.names[at] for at in np.flatnonzero(owner == client))
            raise ValueError(
                f"{names} would be a client with {len(shard)} of the {len(labels)} samples used, and "
                f"min_client_samples = {min_samples}: lower it, raise train_samples, or lower clients, so that groups "
                "are put together"
            )
    return shards


def _put_together(amount: npt.NDArray[np.int64], clients: int) -> npt.NDArray[np.int64]:
    """(groups,) the client of each group."""
    owner = np.empty(len(amount), np.int64)
    least = [(0, client) for client in range(clients)]
    for group in np.argsort(-amount, kind="stable"):
        held, client = heapq.heappop(least)
        owner[group] = client
        heapq.heappush(least, (held + int(amount[group]), client))
    return owner


def _shared_out(
    labels: Labels,
    clients: int,
    values: Mapping[str, Any],
    groups: Groups,
    amount: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> Shards:
    min_samples = values["min_client_samples"]
    owner = np.empty(len(labels), np.int64)
    first = 0
    for group, count in enumerate(_clients_of(amount, clients, min_samples, groups.names)):
        members = np.flatnonzero(groups.of == group)
        within = draw(labels[members], count, values["dirichlet_alpha"], rng)
        top_up(within, count, min_samples, rng)
        owner[members] = first + within
        first += count
    return shards_of(owner, clients)


def _clients_of(amount: npt.NDArray[np.int64], clients: int, min_samples: int, names: tuple[str, ...]) -> list[int]:
    """How many clients each group is shared out among: one, and each more to the group with most samples a client."""
    room = amount // min_samples
    if (room == 0).any():
        group = int(np.argmin(room))
        raise ValueError(
            f"{names[group]} has {amount[group]} samples, and min_client_samples = {min_samples}: lower it, or raise "
            "train_samples"
        )
    if clients > room.sum():
        raise ValueError(
            f"clients = {clients}, and the groups have room for {room.sum()} with min_client_samples = {min_samples} "
            "each: lower one of the two"
        )
    count = np.ones(len(amount), np.int64)
    fullest = [(-float(size), group) for group, size in enumerate(amount)]
    heapq.heapify(fullest)
    while count.sum() < clients:
        _, group = heapq.heappop(fullest)
        if count[group] < room[group]:
            count[group] += 1
            heapq.heappush(fullest, (-amount[group] / count[group], group))
    return [int(one) for one in count]


partitions.register("natural")(
    Partition(
        label="The dataset's own",
        about="Clients are those that the dataset has itself (one folder a client, one source a client); more "
        "clients share a group's samples as `dirichlet` does, fewer hold several groups.",
        reads=("dirichlet_alpha", "min_client_samples"),
        split=split,
        natural=True,
    )
)
