"""CIFAR-10, CIFAR-100, SVHN and scikit-learn's digits: small images, read whole."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from deltamask.datasets.base import (
    Classes,
    DatasetError,
    DatasetSpec,
    ImageDataset,
    Images,
    Labels,
    Layout,
    check_labels,
    datasets,
    register_rooted,
)
from deltamask.datasets.download import Download, Remote
from deltamask.datasets.formats import entry, read_mat, read_plain_pickle

PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Cifar:
    """How one CIFAR lies on disk, in the binary and in the Python version."""

    name: str
    label_bytes: int  # before each image in the binary version; the last of them is the label
    binary: tuple[str, ...]  # training files, then the test file
    binary_names: str
    python: tuple[str, ...]
    python_names: tuple[str, str]  # file, key
    label_key: str


CIFAR10 = Cifar(
    "cifar-10",
    1,
    (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"),
    "batches.meta.txt",
    (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"),
    ("batches.meta", "label_names"),
    "labels",
)
CIFAR100 = Cifar(
    "cifar-100",
    2,
    ("train.bin", "test.bin"),
    "fine_label_names.txt",
    ("train", "test"),
    ("meta", "fine_label_names"),
    "fine_labels",
)


def _records(path: Path, label_bytes: int) -> np.memmap[Any, np.dtype[np.uint8]]:
    """(n, label_bytes + 3072): one image a row, mapped."""
    size, row = path.stat().st_size, label_bytes + PIXELS
    if size == 0 or size % row:
        raise DatasetError(f"{path}: {size} bytes are no whole number of images of {row} bytes; get the file again")
    return np.memmap(path, np.uint8, "r", shape=(size // row, row))


def _cifar_classes(folder: Path, cifar: Cifar) -> Classes:
    if (folder / cifar.binary_names).is_file():
        return tuple((folder / cifar.binary_names).read_text().split())
    file, key = cifar.python_names
    return tuple(str(name) for name in entry(read_plain_pickle(folder / file), key, folder / file))


def _cifar_part(folder: Path, cifar: Cifar, at: int) -> tuple[Images, Labels]:
    """Images (n, 3, 32, 32) and labels (n,) of the `at`-th file."""
    if (folder / cifar.binary[at]).is_file():
        rows = _records(folder / cifar.binary[at], cifar.label_bytes)
        return rows[:, cifar.label_bytes :].reshape(-1, 3, 32, 32), rows[:, cifar.label_bytes - 1].astype(np.int64)
    path = folder / cifar.python[at]
    batch = read_plain_pickle(path)
    data, labels = entry(batch, "data", path), entry(batch, cifar.label_key, path)
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != PIXELS:
        raise DatasetError(f"{path}: its data are no images of {PIXELS} bytes; get the file again")
    return data.reshape(-1, 3, 32, 32), np.array(labels, np.int64)


def _read_cifar(folder: Path, cifar: Cifar) -> ImageDataset:
    classes = _cifar_classes(folder, cifar)
    parts = [_cifar_part(folder, cifar, at) for at in range(len(cifar.binary))]
    images = [np.ascontiguousarray(part.transpose(0, 2, 3, 1)) for part, _ in parts]
    for at, (part, (_, labels)) in enumerate(zip(images, parts, strict=True)):
        check_labels(folder / cifar.python[at], labels, classes, len(part))
    train_y = np.concatenate([labels for _, labels in parts[:-1]])
    return ImageDataset(cifar.name, np.concatenate(images[:-1]), train_y, images[-1], parts[-1][1], classes)


def _cifar_labels(folder: Path, cifar: Cifar) -> tuple[Labels, Classes]:
    labels = np.concatenate([_cifar_part(folder, cifar, at)[1] for at in range(len(cifar.binary) - 1)])
    return labels, _cifar_classes(folder, cifar)


SVHN_FILES = ("train_32x32.mat", "test_32x32.mat")
DIGITS = tuple("0123456789")


def _svhn_labels(path: Path, content: dict[str, Any]) -> Labels:
    labels = np.atleast_1d(content["y"]).astype(np.int64)
    labels[labels == 10] = 0  # the files call the digit 0 "10"
    check_labels(path, labels, DIGITS, len(labels))
    return labels


def _read_svhn(folder: Path) -> ImageDataset:
    parts = []
    for file in SVHN_FILES:
        content = read_mat(folder / file, "X", "y")
        images = content["X"]  # (32, 32, 3, n)
        if images.dtype != np.uint8 or images.shape[:3] != (32, 32, 3):
            raise DatasetError(
                f"{folder / file}: X is {images.dtype} of shape {images.shape}, not 32 × 32 × 3 × n bytes"
            )
        images = images.reshape(32, 32, 3, -1).transpose(3, 0, 1, 2)
        labels = _svhn_labels(folder / file, content)
        check_labels(folder / file, labels, DIGITS, len(images))
        parts.append((images, labels))
    (train_x, train_y), (test_x, test_y) = parts
    return ImageDataset("svhn", train_x, train_y, test_x, test_y, DIGITS)


def _read_digits() -> ImageDataset:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8)
    labels = bunch.target.astype(np.int64)
    held_out = np.zeros(len(labels), np.bool_)
    for digit in range(10):
        held_out[np.flatnonzero(labels == digit)[4::5]] = True  # every fifth of each class
    return ImageDataset("digits", images[~held_out], labels[~held_out], images[held_out], labels[held_out], DIGITS)


def _digits_file() -> Path | None:
    import sklearn.datasets

    path = Path(sklearn.datasets.__file__).parent / "data" / "digits.csv.gz"
    return path if path.is_file() else None


datasets.register("digits")(
    DatasetSpec(
        read=_read_digits,
        where=_digits_file,
        license="BSD-3-Clause (scikit-learn); data CC BY 4.0 (UCI)",
        how_to_get="`pip install scikit-learn`",
        size_bytes=57_000,
    )
)

_CIFAR_URL = "https://www.cs.toronto.edu/~kriz"
_CIFAR_LICENSE = "none stated; its authors ask to cite Krizhevsky 2009"
for _cifar, _folders, _file in (
    (CIFAR10, ("cifar-10-batches-bin", "cifar-10-batches-py"),
     Remote(f"{_CIFAR_URL}/cifar-10-binary.tar.gz", 170_052_171, "c32a1d4ab5d03f1284b67883e8d87530")),
    (CIFAR100, ("cifar-100-binary", "cifar-100-python"),
     Remote(f"{_CIFAR_URL}/cifar-100-binary.tar.gz", 168_513_733, "03b5dce01913d631647c71ecec9e9cb8")),
):  # fmt: skip
    register_rooted(
        _cifar.name,
        (
            Layout(_folders[0], (*_cifar.binary, _cifar.binary_names)),
            Layout(_folders[1], (*_cifar.python, _cifar.python_names[0])),
        ),
        partial(_read_cifar, cifar=_cifar),
        labels=partial(_cifar_labels, cifar=_cifar),
        license=_CIFAR_LICENSE,
        how_to_get=f"`deltamask download {_cifar.name}` (the binary version; torchvision's Python version is read too)",
        size_bytes=_file.size,
        download=Download((_file,), unpack=True),
    )

_SVHN_URL = "http://ufldl.stanford.edu/housenumbers"
register_rooted(
    "svhn",
    (Layout("svhn", SVHN_FILES), Layout("SVHN", SVHN_FILES), Layout("", SVHN_FILES)),
    _read_svhn,
    labels=lambda folder: (_svhn_labels(folder / SVHN_FILES[0], read_mat(folder / SVHN_FILES[0], "y")), DIGITS),
    license="for non-commercial use only",
    how_to_get="`deltamask download svhn`",
    size_bytes=182_040_794 + 64_275_384,
    download=Download(
        (
            Remote(f"{_SVHN_URL}/train_32x32.mat", 182_040_794, "e26dedcc434d2e4c54c9b2d4a06d8373"),
            Remote(f"{_SVHN_URL}/test_32x32.mat", 64_275_384, "eb5a983be6a315427106f1b164d9cef3"),
        ),
        into="svhn",
    ),
)
