"""SVHN, cropped digits (Netzer et al., 2011): MATLAB files with X (32, 32, 3, n) and y (n, 1)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from deltamask.datasets.places import Layout, rooted
from deltamask.datasets.spec import DatasetError, Download, ImageDataset, Labels, Remote, check_labels, datasets
from deltamask.datasets.tables import read_mat

CLASSES = tuple("0123456789")
FILES = ("train_32x32.mat", "test_32x32.mat")
URL = "http://ufldl.stanford.edu/housenumbers"


def _labels(path: Path, content: dict[str, Any]) -> Labels:
    labels = np.atleast_1d(content["y"]).astype(np.int64)
    labels[labels == 10] = 0  # the files call the digit 0 "10"
    check_labels(path, labels, CLASSES, len(labels))
    return labels


def read(folder: Path) -> ImageDataset:
    """The whole dataset."""
    parts = []
    for file in FILES:
        content = read_mat(folder / file, "X", "y")
        images = content["X"]  # (32, 32, 3, n)
        if images.dtype != np.uint8 or images.shape[:3] != (32, 32, 3):
            raise DatasetError(
                f"{folder / file}: X is {images.dtype} of shape {images.shape}, not 32 × 32 × 3 × n bytes"
            )
        images = images.reshape(32, 32, 3, -1).transpose(3, 0, 1, 2)
        labels = _labels(folder / file, content)
        check_labels(folder / file, labels, CLASSES, len(images))
        parts.append((images, labels))
    (train_x, train_y), (test_x, test_y) = parts
    return ImageDataset("svhn", train_x, train_y, test_x, test_y, CLASSES)


datasets.register("svhn")(
    rooted(
        "svhn",
        (Layout("svhn", FILES), Layout("SVHN", FILES), Layout("", FILES)),
        read,
        labels=lambda folder: (_labels(folder / FILES[0], read_mat(folder / FILES[0], "y")), CLASSES),
        license="for non-commercial use only",
        how_to_get="`deltamask download svhn`",
        size_bytes=182_040_794 + 64_275_384,
        download=Download(
            (
                Remote(f"{URL}/train_32x32.mat", 182_040_794, "e26dedcc434d2e4c54c9b2d4a06d8373"),
                Remote(f"{URL}/test_32x32.mat", 64_275_384, "eb5a983be6a315427106f1b164d9cef3"),
            ),
            into="svhn",
        ),
    )
)
