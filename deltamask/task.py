"""A Task: what is learnt and who holds it, ready for training. Built once from a config; methods only read it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from deltamask import backbones, datasets
from deltamask.config import RunConfig
from deltamask.features import Progress, feature_key, load_features
from deltamask.partition import Shards, dirichlet_split, label_counts
from deltamask.tail import Tail

EVALUATION_BATCH = 500


def no_progress(what: str, done: int, total: int) -> None:
    """Ignore progress."""


@dataclass(frozen=True)
class Task:
    """Cached trunk features (n, …), labels (n,), the tail that is masked, and each client's sample indices.

    skipped: image files that could not be read and were left out.
    """

    tail: Tail
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor
    shards: Shards
    classes: tuple[str, ...]
    num_features: int
    skipped: tuple[str, ...] = ()

    @property
    def d(self) -> int:
        """Number of maskable weights."""
        return self.tail.d

    @property
    def head_size(self) -> int:
        """Parameters of the classifier head: weights and biases."""
        return len(self.classes) * (self.num_features + 1)

    @cached_property
    def label_counts(self) -> npt.NDArray[np.int64]:
        """(clients, classes) training samples."""
        return label_counts(self.train_y.numpy(), self.shards, len(self.classes))

    @cached_property
    def pooled_train(self) -> Tensor:
        """(n, num_features): the unmasked network's output, on which the head is probed."""
        return self.pooled(self.train_x, self.tail.weights)

    @torch.inference_mode()
    def pooled(self, features: Tensor, effective: Tensor) -> Tensor:
        """The tail's output for `features` with the weights `effective` (d,)."""
        self.tail.effective.copy_(effective)
        batches = range(0, len(features), EVALUATION_BATCH)
        return torch.cat([self.tail(features[start : start + EVALUATION_BATCH]) for start in batches])


def load_task(config: RunConfig, progress: Progress = no_progress) -> Task:
    """Read the data, cut the backbone, compute or load trunk features, split the labels.

    Raises KeyError (unknown names), DatasetError, BackboneError, CacheError, OSError (cache not writable).
    """
    data = datasets.load(config.dataset)
    backbone = backbones.build(config.backbone, config.masked_blocks)
    key = feature_key(backbone, config.masked_blocks, data, config.image_size, config.feature_precision)
    counts = (config.train_samples, config.test_samples)
    train, test = load_features(data, counts, key, backbone, progress, config.bad_images)
    train_y = data.train_y[train.kept]
    shards = dirichlet_split(
        train_y, config.clients, config.dirichlet_alpha, config.min_client_samples, seed=config.seed
    )
    return Task(
        tail=Tail(backbone.tail),
        train_x=train.x,
        train_y=torch.from_numpy(train_y),
        test_x=test.x,
        test_y=torch.from_numpy(data.test_y[test.kept]),
        shards=shards,
        classes=data.classes,
        num_features=backbone.num_features,
        skipped=train.skipped + test.skipped,
    )
