"""A node's own data on disk, and the Task that node and server make of theirs.

shard.json    client, dataset, classes
images.npy    (n, height, width[, 3]) uint8, or (n,) texts
labels.npy    (n,) int64
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deltamask import datasets
from deltamask.config import RunConfig
from deltamask.datasets import ImageDataset, Images, Labels, partitions
from deltamask.task.features import Progress
from deltamask.task.task import Task, no_progress, unshared_task


@dataclass(frozen=True)
class Shard:
    """What one client holds. images: (n, …) uint8, or (n,) texts. labels: (n,) class indices."""

    client: int
    dataset: str
    classes: tuple[str, ...]
    images: Images
    labels: Labels

    def write(self, folder: Path) -> None:
        """Make `folder`, which the node reads."""
        folder.mkdir(parents=True, exist_ok=True)
        description = {"client": self.client, "dataset": self.dataset, "classes": list(self.classes)}
        (folder / "shard.json").write_text(json.dumps(description, indent=1))
        np.save(folder / "images.npy", self.images, allow_pickle=False)
        np.save(folder / "labels.npy", self.labels, allow_pickle=False)

    @classmethod
    def read(cls, folder: Path) -> Shard:
        """OSError or ValueError if it is not there or damaged."""
        description = json.loads((folder / "shard.json").read_text())
        images, labels = (np.load(folder / f"{name}.npy", allow_pickle=False) for name in ("images", "labels"))
        if len(images) != len(labels):
            raise ValueError(f"{folder}: {len(images)} images and {len(labels)} labels")
        return cls(int(description["client"]), description["dataset"], tuple(description["classes"]), images, labels)

    @property
    def label_counts(self) -> list[int]:
        """How many samples of each class: all that the server learns of the data."""
        counts: list[int] = np.bincount(self.labels, minlength=len(self.classes)).tolist()
        return counts


def split(config: RunConfig) -> list[Shard]:
    """The shards that an in-process run of `config` would train on, one for each client."""
    data = datasets.load(config.dataset)
    if not isinstance(data.train_x, np.ndarray):
        raise datasets.DatasetError(f"{data.name} holds image files of any size: write each node's shard by hand")
    images, labels = data.train_x[: config.train_samples], data.train_y[: config.train_samples]
    groups = data.groups.pick(slice(len(labels))) if data.groups else None
    indices = partitions.split(config, labels, groups)
    return [
        Shard(client, data.name, tuple(data.classes), images[index], labels[index])
        for client, index in enumerate(indices)
    ]


def node_task(config: RunConfig, shard: Shard) -> Task:
    """The node's Task: its own samples, in the order that they have in the whole, and no test set."""
    name = f"{shard.dataset}-client-{shard.client}"
    own = ImageDataset(name, shard.images, shard.labels, shard.images[:0], shard.labels[:0], shard.classes)
    shards = [np.zeros(0, np.int64) for _ in range(config.clients)]
    shards[shard.client] = np.arange(len(shard.labels))
    return replace(unshared_task(config, own, (len(shard.labels), 0)), shards=shards)


def server_task(config: RunConfig, progress: Progress = no_progress) -> Task:
    """The server's Task, which holds the test set and no training sample; `with_holdings` adds the clients' counts."""
    data = datasets.load(config.dataset)
    if config.evaluate_on == "validation":
        held_out = slice(config.train_samples, config.train_samples + config.test_samples)
        data = replace(
            data, name=f"{data.name}-validation", test_x=data.train_x[held_out], test_y=data.train_y[held_out]
        )
    return unshared_task(config, data, (0, config.test_samples), progress)


def with_holdings(task: Task, label_counts: npt.NDArray[np.int64], notes: tuple[str, ...] = ()) -> Task:
    """`task` with what the clients say they have: (clients, classes) samples, as counts; the samples stay there.

    notes: what whoever runs this should read of those who said it.
    """
    shards = [np.zeros(0, np.int64) for _ in label_counts]
    return replace(task, holdings=label_counts, shards=shards, notes=task.notes + notes)
