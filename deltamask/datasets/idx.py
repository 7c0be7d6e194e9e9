"""Fashion-MNIST and EMNIST: IDX files of unsigned bytes, the format of MNIST and its kin."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deltamask.base.paths import data_dir
from deltamask.datasets.base import (
    Classes,
    DatasetError,
    ImageDataset,
    Labels,
    Layout,
    check_labels,
    existing,
    register_rooted,
    roots,
)
from deltamask.datasets.download import Download, Remote

FASHION_CLASSES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
EMNIST_CLASSES = tuple("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt")  # look-alike lower-case letters are merged
DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")
MNIST_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
EMNIST_FILES = tuple(
    f"emnist-balanced-{split}-{part}-ubyte" for split in ("train", "test") for part in ("images-idx3", "labels-idx1")
)


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """An IDX file of unsigned bytes, packed with gzip or not. DatasetError if it is torn or foreign."""
    try:
        raw = path.read_bytes()
        if path.suffix == ".gz":
            raw = gzip.decompress(raw)
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
    """The same format, packed, byte for byte reproducible (no time stamp in the gzip header)."""
    head = b"\x00\x00\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(head + array.tobytes(), 9, mtime=0))


def _read_labels(folder: Path, name: str, classes: Classes) -> Labels:
    path = existing(folder / name) or folder / name
    labels = read_idx(path).astype(np.int64)
    check_labels(path, labels, classes, len(labels))
    return labels


def _read(folder: Path, name: str, files: tuple[str, ...], classes: Classes, transposed: bool = False) -> ImageDataset:
    """files: training images, training labels, test images, test labels."""
    images = [read_idx(existing(folder / part) or folder / part) for part in (files[0], files[2])]
    labels = [_read_labels(folder, part, classes) for part in (files[1], files[3])]
    for split in range(2):
        check_labels(folder, labels[split], classes, len(images[split]))
    if transposed:  # EMNIST stores columns first: without this, letters lie on their side
        images = [np.ascontiguousarray(part.transpose(0, 2, 1)) for part in images]
    return ImageDataset(name, images[0], labels[0], images[1], labels[1], classes)


_MINI_HELP = "clone the repository with its data/ folder, or set DELTAMASK_DATA to one"

register_rooted(
    "fashion-mnist-mini",
    (Layout("fashion-mnist-mini", MNIST_FILES),),
    partial(_read, name="fashion-mnist-mini", files=MNIST_FILES, classes=FASHION_CLASSES),
    labels=lambda folder: (_read_labels(folder, MNIST_FILES[1], FASHION_CLASSES), FASHION_CLASSES),
    license="MIT",
    how_to_get=_MINI_HELP,
    size_bytes=6_200_000,
    places=lambda: [data_dir()],
)

_FASHION_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
_FASHION_MD5 = {
    "train-images-idx3-ubyte.gz": (26_421_880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
    "train-labels-idx1-ubyte.gz": (29_515, "25c81989df183df01b3e8a0aad5dffbe"),
    "t10k-images-idx3-ubyte.gz": (4_422_102, "bef4ecab320f06d8554ea6380940ec79"),
    "t10k-labels-idx1-ubyte.gz": (5_148, "bb300cfdad3c16e7a12a480ee83cd310"),
}
register_rooted(
    "fashion-mnist",
    (Layout("", MNIST_FILES), Layout("FashionMNIST/raw", MNIST_FILES)),
    partial(_read, name="fashion-mnist", files=MNIST_FILES, classes=FASHION_CLASSES),
    labels=lambda folder: (_read_labels(folder, MNIST_FILES[1], FASHION_CLASSES), FASHION_CLASSES),
    license="MIT",
    how_to_get="`apt-get install dataset-fashion-mnist` on Debian, or `deltamask download fashion-mnist`",
    size_bytes=30_878_645,
    download=Download(
        tuple(Remote(f"{_FASHION_URL}/{name}", size, md5) for name, (size, md5) in _FASHION_MD5.items()),
        into="FashionMNIST/raw",
    ),
    places=lambda: [DEBIAN_FASHION, *roots()],
)

register_rooted(
    "emnist",  # the split `balanced`: 47 classes, 112,800 / 18,800 images
    (Layout("EMNIST/raw", EMNIST_FILES), Layout("EMNIST/raw/gzip", EMNIST_FILES)),
    partial(_read, name="emnist", files=EMNIST_FILES, classes=EMNIST_CLASSES, transposed=True),
    labels=lambda folder: (_read_labels(folder, EMNIST_FILES[1], EMNIST_CLASSES), EMNIST_CLASSES),
    license="none stated; NIST Special Database 19 is a work of the US government",
    how_to_get="`deltamask download emnist` (all splits come in one file; `balanced` is read)",
    size_bytes=561_753_746,
    download=Download(
        (
            Remote(
                "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip", 561_753_746, "58c8d27c78d21e728a6bc7b3cc06412e"
            ),
        ),
        into="EMNIST/raw",
        unpack=True,
    ),
)
