"""A Task: what is learnt and who holds it, ready for training. Built once from a config; methods only read it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from deltamask import backbones, datasets
from deltamask.backbones import BackboneError
from deltamask.backbones.split import Backbone, Tail
from deltamask.base.progress import NOTE
from deltamask.base.units import byte_size
from deltamask.config import RunConfig
from deltamask.datasets import Groups, partitions
from deltamask.datasets.partitions import Shards, label_counts
from deltamask.task import device as devices
from deltamask.task.features import Progress, feature_key, load_features, padded
from deltamask.task.world import Check, any_world, world_of

EVALUATION_BATCH = 500
EVALUATION_NUMBERS = 2**22  # in a batch's features: fewer samples at a time where a network is wide


def no_progress(what: str, done: int, total: int) -> None:
    """Ignore progress."""


@dataclass(frozen=True)
class Task:
    """Cached trunk features (n, …), labels (n,), the tail that is masked, and each client's sample indices.

    test_x, test_y: what accuracy is measured on; held-out training images with `evaluate_on = "validation"`. The tail
    is on a device; features and labels stay in main memory, and go there batch by batch. skipped: image files that
    could not be read and were left out. groups: the dataset's own clients, of the training samples. notes: sentences
    about the data that whoever runs this should read. holdings: (clients, classes) the samples that clients have
    registered, where the samples themselves are elsewhere: counts, whatever they say, take no more room than that.
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
    groups: Groups | None = None
    notes: tuple[str, ...] = ()
    holdings: npt.NDArray[np.int64] | None = None

    def __repr__(self) -> str:
        return (
            f"<Task: {len(self.train_y):,} training, {len(self.test_y):,} test samples, {len(self.classes)} classes, "
            f"{len(self.shards)} clients, d = {self.d:,}>"
        )

    @property
    def device(self) -> torch.device:
        """Where the tail computes."""
        return self.tail.weights.device

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
        if self.holdings is not None:
            return self.holdings
        return label_counts(self.train_y.numpy(), self.shards, len(self.classes))

    @property
    def samples(self) -> npt.NDArray[np.int64]:
        """(clients,) training samples."""
        return self.label_counts.sum(1)

    @cached_property
    def pooled_train(self) -> Tensor:
        """(n, num_features): the unmasked network's output, on which the head is probed."""
        return self.pooled(self.train_x, self.tail.weights)

    @torch.inference_mode()
    def pooled(self, features: Tensor, effective: Tensor) -> Tensor:
        """The tail's output for `features` with the weights `effective` (d,), in main memory."""
        self.tail.effective.copy_(effective)
        size = max(1, min(EVALUATION_BATCH, EVALUATION_NUMBERS // features[0].numel()))
        parts = features.split(size)
        return torch.cat([self.tail(padded(part, size).to(self.device))[: len(part)].cpu() for part in parts])


class _At(nn.Module):
    """A trunk that computes on `device`, from and to main memory; always in full precision, as its output is kept."""

    def __init__(self, trunk: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.trunk, self.device = trunk.to(device), device

    def forward(self, samples: Tensor) -> Tensor:
        features: Tensor = self.trunk(samples.to(self.device)).cpu()
        return features


def load_task(config: RunConfig, progress: Progress = no_progress, check: Check = any_world) -> Task:
    """Read the data, cut the backbone, compute or load trunk features, split the labels.

    check: is shown what these are before any feature is computed, and may refuse them by raising.
    Raises KeyError (unknown names), DatasetError, BackboneError, DeviceError, CacheError, OSError (cache not writable).
    """
    data = datasets.load(config.dataset)
    count, tested = config.train_samples, config.test_samples
    held_out = config.evaluate_on == "validation"  # what follows the training samples in the fixed order
    groups = data.groups.pick(slice(count)) if data.groups else None
    shards = partitions.split(config, data.train_y[:count], groups)  # what cannot be split is said before it takes long
    backbone = _backbone(config, data, progress)
    check(world_of(data, shards, backbone.weights_id))
    task = _unshared(config, data, backbone, (count + tested, 0) if held_out else (count, tested), progress)
    if held_out:
        if len(task.train_x) <= count:
            raise datasets.DatasetError(
                f"evaluate_on = 'validation' needs training images beyond train_samples = {count}, and "
                f"{data.name} has {len(task.train_x)} in all: lower train_samples"
            )
        task = replace(
            task, train_x=task.train_x[:count], test_x=task.train_x[count:],
            train_y=task.train_y[:count], test_y=task.train_y[count:],
        )  # fmt: skip
    if task.skipped:
        groups = task.groups.pick(slice(len(task.train_y))) if task.groups else None
        shards = partitions.split(config, task.train_y.numpy(), groups)
    return replace(task, shards=shards)


def unshared_task(
    config: RunConfig, data: datasets.ImageDataset, counts: tuple[int, int], progress: Progress = no_progress
) -> Task:
    """A Task of the first `counts` training and test samples of `data`, which no client holds yet. Errors as above."""
    return _unshared(config, data, _backbone(config, data, progress), counts, progress)


def _backbone(config: RunConfig, data: datasets.ImageDataset, progress: Progress) -> Backbone:
    """The config's backbone, its trunk on the device."""
    device = devices.pick(config.device)
    spec = backbones.get(config.backbone)
    if spec.host and spec.lacks(config.weights):
        size = f", {byte_size(spec.size_bytes)}" if spec.size_bytes else ""
        progress(f"fetching the weights of {config.backbone} from {spec.host}{size}", 0, 1)
    backbone = backbones.build(config.backbone, config.masked_blocks, config.weights, config.image_size)
    texts = isinstance(data.train_x, np.ndarray) and data.train_x.dtype.kind == "U"
    if texts != (backbone.tokenize is not None):
        reads, holds = ("images", "texts") if texts else ("texts", "images")
        raise BackboneError(f"backbone {backbone.name} reads {reads}, and dataset {data.name} holds {holds}")
    return replace(backbone, trunk=_At(backbone.trunk, device))


def _unshared(
    config: RunConfig, data: datasets.ImageDataset, backbone: Backbone, counts: tuple[int, int], progress: Progress
) -> Task:
    device = devices.pick(config.device)
    if config.precision == "bfloat16" and device.type == "cpu" and not devices.multiplies_bfloat16():
        progress(f"{NOTE}this processor does not multiply bfloat16: float32 would be faster", 0, 1)
    key = feature_key(backbone, config.masked_blocks, data, config.image_size, config.feature_precision)
    for note in data.notes:
        progress(f"{NOTE}{note}", 0, 1)
    train, test = load_features(data, counts, key, backbone, progress, config.bad_images)
    twice = datasets.identical(data, (train.kept, test.kept))
    for note in twice:
        progress(f"{NOTE}{note}", 0, 1)
    return Task(
        tail=Tail(backbone.tail, device, devices.products(config.precision, device)),
        train_x=train.x,
        train_y=torch.from_numpy(data.train_y[train.kept]),
        test_x=test.x,
        test_y=torch.from_numpy(data.test_y[test.kept]),
        shards=[],
        classes=data.classes,
        num_features=backbone.num_features,
        skipped=train.skipped + test.skipped,
        groups=data.groups.pick(train.kept) if data.groups else None,
        notes=data.notes + twice,
    )
