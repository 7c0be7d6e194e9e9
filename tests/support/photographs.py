"""Folders of small photographs, as people have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deltamask import datasets
from deltamask.datasets import ImageDataset, ImageFiles
from tests.support.real_formats import images, jpeg


def photographs(root: Path, classes: tuple[str, ...] = ("cats", "dogs"), count: int = 20) -> Path:
    """Pictures of several sizes in a folder for each class, all different; their brightness tells the class."""
    rng = np.random.default_rng(count)
    for label, name in enumerate(classes):
        for at in range(count):
            size = rng.integers(40, 80, 2)
            jpeg(root / name / f"IMG_{at:04d}.jpg", images(np.array([label]), len(classes), *size, 3)[0])
    return root


def load(root: Path, family: str = "folder:") -> ImageDataset:
    """The dataset of one's own in this folder."""
    return datasets.load(f"{family}{root}")


def paths(part: object) -> list[str]:
    """The files of a split."""
    assert isinstance(part, ImageFiles)
    return list(part.paths)


def all_paths(data: ImageDataset) -> list[str]:
    """The files of both splits, sorted."""
    return sorted(paths(data.train_x) + paths(data.test_x))
