"""What a task is: only runs of one task may be ranked or share a front. Needs no torch.

A task is the network with its weights and masked blocks, the data and how many of them, and who holds what and takes
part. The seed, from which the split is drawn too, is no part of it: seeds of one setting are samples of one task, and
`unlike_seeds` says where they are not the same ones on both sides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from deltamask.config import RunConfig, is_unread

TASK_FIELDS = (
    "backbone", "weights", "masked_blocks", "image_size", "dataset", "train_samples", "test_samples", "clients", "rho",
    "partition", "dirichlet_alpha", "shards_per_client", "size_exponent", "min_client_samples", "evaluate_on",
)  # fmt: skip
Task = tuple[Any, ...]


def task_of(config: RunConfig) -> Task:
    """The values of TASK_FIELDS, None for one that this config's partition does not read: equal for equal tasks."""
    return tuple(None if is_unread(name, config) else getattr(config, name) for name in TASK_FIELDS)


def main_task(configs: Sequence[RunConfig]) -> Task:
    """The task that the most of these have; of several, the one that comes first. ValueError for no configs."""
    if not configs:
        raise ValueError("no configs, so no task")
    return Counter(map(task_of, configs)).most_common(1)[0][0]


def other_task(configs: Sequence[RunConfig], focus: RunConfig | None = None) -> list[bool]:
    """Which of these are of another task than the focus; without one, than the most of them."""
    if not configs:
        return []
    task = task_of(focus) if focus else main_task(configs)
    return [task_of(config) != task for config in configs]


def task_differences(config: RunConfig, focus: RunConfig) -> list[str]:
    """The fields in which two tasks differ."""
    pairs = zip(TASK_FIELDS, task_of(config), task_of(focus), strict=True)
    return [name for name, mine, theirs in pairs if mine != theirs]


def task_words(config: RunConfig) -> str:
    """A task in one line for people."""
    data = f"{config.train_samples:,} of {config.dataset}"
    who = f"{config.clients} clients, ρ {config.rho:g}, {config.partition}"
    alike = "" if is_unread("dirichlet_alpha", config) else f" α {config.dirichlet_alpha:g}"
    return f"{config.backbone}, {config.masked_blocks} masked blocks, {data}, {who}{alike}"


def unlike_seeds(seeds: Sequence[frozenset[int]]) -> bool:
    """Do groups of runs, each given by its seeds, not all rest on the same splits?"""
    return len(set(seeds)) > 1
