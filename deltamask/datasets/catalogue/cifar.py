"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009), in the binary version. The Python version is pickled, and is not read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from deltamask.datasets.places import Layout, rooted
from deltamask.datasets.spec import (
    Classes,
    DatasetError,
    Download,
    ImageDataset,
    Images,
    Labels,
    Remote,
    check_labels,
    datasets,
)
from deltamask.datasets.tables import read_words

PIXELS = 3 * 32 * 32
URL = "https://www.cs.toronto.edu/~kriz"
PICKLED = "that is the Python version, a pickle, which runs what it says when it is opened; the binary version is read"


@dataclass(frozen=True)
class Cifar:
    """How one CIFAR lies on disk."""

    name: str
    folder: str
    files: tuple[str, ...]  # training files, then the test file
    class_names: str
    label_bytes: int  # before each image; the last of them is the label
    python_folder: str
    archive: Remote


FAMILY = (
    Cifar(
        "cifar-10",
        "cifar-10-batches-bin",
        (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"),
        "batches.meta.txt",
        1,
        "cifar-10-batches-py",
        Remote(f"{URL}/cifar-10-binary.tar.gz", 170_052_171, "c32a1d4ab5d03f1284b67883e8d87530"),
    ),
    Cifar(
        "cifar-100",
        "cifar-100-binary",
        ("train.bin", "test.bin"),
        "fine_label_names.txt",
        2,
        "cifar-100-python",
        Remote(f"{URL}/cifar-100-binary.tar.gz", 168_513_733, "03b5dce01913d631647c71ecec9e9cb8"),
    ),
)


def _records(path: Path, label_bytes: int) -> np.memmap[Any, np.dtype[np.uint8]]:
    """(n, label_bytes + 3072): one image a row, mapped."""
    size, row = path.stat().st_size, label_bytes + PIXELS
    if size == 0 or size % row:
        raise DatasetError(f"{path}: {size} bytes are no whole number of images of {row} bytes; get the file again")
    return np.memmap(path, np.uint8, "r", shape=(size // row, row))


def _classes(folder: Path, cifar: Cifar) -> Classes:
    return tuple(read_words(folder / cifar.class_names))


def _part(path: Path, cifar: Cifar, classes: Classes) -> tuple[Images, Labels]:
    """Images (n, 32, 32, 3) and labels (n,) of one file. The images are a view until somebody copies them."""
    rows = _records(path, cifar.label_bytes)
    images = rows[:, cifar.label_bytes :].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    labels = rows[:, cifar.label_bytes - 1].astype(np.int64)
    check_labels(path, labels, classes, len(images))
    return images, labels


def read(folder: Path, cifar: Cifar) -> ImageDataset:
    """The whole dataset."""
    classes = _classes(folder, cifar)
    parts = [_part(folder / file, cifar, classes) for file in cifar.files]
    train_x = np.concatenate([images for images, _ in parts[:-1]])
    train_y = np.concatenate([labels for _, labels in parts[:-1]])
    return ImageDataset(cifar.name, train_x, train_y, np.ascontiguousarray(parts[-1][0]), parts[-1][1], classes)


def read_labels(folder: Path, cifar: Cifar) -> tuple[Labels, Classes]:
    """(training labels, class names); no image is read."""
    classes = _classes(folder, cifar)
    return np.concatenate([_part(folder / file, cifar, classes)[1] for file in cifar.files[:-1]]), classes


for _cifar in FAMILY:
    datasets.register(_cifar.name)(
        rooted(
            _cifar.name,
            (Layout(_cifar.folder, (*_cifar.files, _cifar.class_names)),),
            partial(read, cifar=_cifar),
            labels=partial(read_labels, cifar=_cifar),
            license="none stated; its authors ask to cite Krizhevsky 2009",
            how_to_get=f"`deltamask download {_cifar.name}` (the binary version)",
            size_bytes=_cifar.archive.size,
            download=Download((_cifar.archive,), unpack=True),
            unread={_cifar.python_folder: PICKLED},
        )
    )
