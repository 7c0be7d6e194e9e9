"""A dataset in one file: stripes that lie and stripes that stand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deltamask.datasets import DatasetSpec, ImageDataset, datasets


def read() -> ImageDataset:
    """120 and 40 pictures of 16 × 16 pixels, two classes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 160)
    stripes = np.zeros((160, 16, 16), np.uint8)
    for picture, label in zip(stripes, labels, strict=True):
        lines = picture if label else picture.T
        lines[:, rng.integers(0, 2) :: 2] = 255
    return ImageDataset("toy", stripes[:120], labels[:120], stripes[120:], labels[120:], ("lying", "standing"))


datasets.register("toy")(
    DatasetSpec(read=read, where=lambda: Path(__file__), license="MIT", how_to_get="comes with toy", size_bytes=0)
)
