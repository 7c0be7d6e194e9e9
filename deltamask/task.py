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
from deltamask.features import FeatureKey, Progress, trunk_features
from deltamask.partition import Shards, dirichlet_split, label_counts
from deltamask.tail import Tail

EVALUATION_BATCH = 500


def no_progress(what: str, done: int, total: int) -> None:
    """Ignore progress."""


@dataclass(frozen=True)
class Task:
    """Cached trunk features (n, …), labels (n,), the tail that is masked, and each client's sample indices.

    test_x, test_y: what accuracy is measured on; held-out training images with `evaluate_on = "validation"`.
    """

    tail: Tail
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor
    shards: Shards
    classes: tuple[str, ...]
    num_features: int

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

    Raises KeyError (unknown names), DatasetError, BackboneError, OSError (cache not writable).
    """
    data = datasets.load(config.dataset)
    backbone = backbones.build(config.backbone, config.masked_blocks)
    key = FeatureKey(
        backbone.name, backbone.weights_id, config.masked_blocks, data.name, data.fingerprint, config.image_size
    )
    if config.evaluate_on == "validation":
        count = config.train_samples  # what follows them in the fixed order is held out
        if count >= len(data.train_x):
            raise datasets.DatasetError(
                f"evaluate_on = 'validation' needs training images beyond train_samples = {count}, and "
                f"{data.name} has {len(data.train_x)} in all: lower train_samples"
            )
        both = trunk_features(data.train_x, count + config.test_samples, "train", key, backbone, progress)
        train_x, test_x, test_y = both[:count], both[count:], data.train_y[count : len(both)]
    else:
        train_x = trunk_features(data.train_x, config.train_samples, "train", key, backbone, progress)
        test_x = trunk_features(data.test_x, config.test_samples, "test", key, backbone, progress)
        test_y = data.test_y[: len(test_x)]
    train_y = data.train_y[: len(train_x)]
    shards = dirichlet_split(
        train_y, config.clients, config.dirichlet_alpha, config.min_client_samples, seed=config.seed
    )
    return Task(
        tail=Tail(backbone.tail),
        train_x=train_x,
        train_y=torch.from_numpy(train_y),
        test_x=test_x,
        test_y=torch.from_numpy(test_y.copy()),
        shards=shards,
        classes=data.classes,
        num_features=backbone.num_features,
    )
