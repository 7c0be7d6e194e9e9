"""What a run's results rest on beside its config: its data, who holds them, the weights, and versions. Needs no torch.

A run keeps this as plain JSON (`task.json`), and whoever goes on with it compares.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from deltamask.datasets import ImageDataset, identity
from deltamask.datasets import differences as data_differences
from deltamask.datasets.partitions import Shards

World = dict[str, Any]
Check = Callable[[World], None]  # may refuse a world by raising

PACKAGES = ("deltamask", "torch", "numpy")  # those whose versions change results


def any_world(world: World) -> None:
    """Refuse none."""


def world_of(data: ImageDataset, shards: Shards, weights_id: str) -> World:
    """Plain JSON: `data`, as `datasets.identity` has them; `split`, who holds which samples; `weights`, the backbone's;
    `versions`."""
    digest = hashlib.sha256()
    for shard in shards:
        digest.update(f"{len(shard)} ".encode())
        digest.update(shard.astype("<i8").tobytes())
    return {
        "data": identity(data),
        "split": digest.hexdigest()[:16],
        "weights": weights_id,
        "versions": {package: _version(package) for package in PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """(what makes another run of it, what is only to be known) in words.

    Image files whose names and sizes are the same and whose times of change are not, as after copying, are the latter.
    """
    grave, slight = list[str](), list[str]()
    if lines := data_differences(before["data"], now["data"]):
        same = all(before["data"][key] == now["data"][key] for key in ("content", "classes"))
        where = "the folder has" if ":" in now["data"]["name"] else "the data have"
        (slight if same else grave).append(f"{where} changed: {', '.join(lines)}")
    elif before["split"] != now["split"]:
        grave.append("the split has changed: the clients hold other samples than when it began")
    if before["weights"] != now["weights"]:
        grave.append(f"the weights have changed: {now['weights']}, {before['weights']} when it began")
    for package, number in now["versions"].items():
        if (old := before["versions"].get(package, number)) != number:
            slight.append(f"{package} is {number} now, {old} when it began: results may differ by rounding")
    return grave, slight
