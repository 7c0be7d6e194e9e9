"""A backbone that counts what goes through its trunk, and features of a dataset with it."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from deltamask.backbones.split import Backbone
from deltamask.datasets import ImageDataset
from deltamask.task.features import BATCH, Features, feature_key, load_features
from deltamask.task.task import no_progress


class Counter(nn.Module):
    """A trunk that counts the images it sees."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.seen = 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        features: Tensor = self.trunk(x)
        return features


def seen(backbone: Backbone) -> int:
    """Images that went through the trunk since the last question."""
    assert isinstance(backbone.trunk, Counter)
    count, backbone.trunk.seen = backbone.trunk.seen, 0
    return count


def load(
    data: ImageDataset, backbone: Backbone, train: int, test: int = 1, *, precision: str = "float32", skip: bool = False
) -> tuple[Features, Features]:
    """Features of the first images of both splits."""
    key = feature_key(backbone, 1, data, 32, precision)
    return load_features(data, (train, test), key, backbone, no_progress, "skip" if skip else "stop")


def folder_of(data: ImageDataset, backbone: Backbone, precision: str = "float32") -> Path:
    return feature_key(backbone, 1, data, 32, precision).folder


PROBE = 1  # image that tells the shape of the features


def fed(count: int) -> int:
    """Inputs of the trunk for `count` images: batches are filled up."""
    return -(-count // BATCH) * BATCH
