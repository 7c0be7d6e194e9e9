"""IDX files of unsigned bytes: the format of MNIST and its kin."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deltamask.datasets.places import existing
from deltamask.datasets.spec import Classes, DatasetError, ImageDataset, Labels, check_labels

MNIST_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


BLOCK = 1 << 20


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """An IDX file of unsigned bytes, packed with gzip or not. DatasetError if it is torn or foreign.

    No more is read than its head says and a block, however much a packed file unpacks to.
    """
    data = bytearray()
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(4)
            if len(head) < 4 or head[:3] != b"\x00\x00\x08" or len(sizes := file.read(4 * head[3])) < 4 * head[3]:
                raise DatasetError(f"{path}: no IDX file of unsigned bytes")
            shape = struct.unpack(f">{head[3]}I", sizes)
            while len(data) <= math.prod(shape) and (block := file.read(BLOCK)):
                data += block
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); restore the file or run `deltamask doctor`") from error
    if len(data) != math.prod(shape):
        more = "or more " if len(data) > math.prod(shape) else ""
        raise DatasetError(f"{path}: {len(data)} bytes {more}of data do not make an array of shape {shape}")
    array = np.frombuffer(data, np.uint8).reshape(shape)
    array.flags.writeable = False
    return array


def write_idx(path: Path, array: npt.NDArray[np.uint8]) -> None:
    """The same format, packed, byte for byte reproducible (no time stamp in the gzip header)."""
    head = b"\x00\x00\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(head + array.tobytes(), 9, mtime=0))


def read_idx_labels(folder: Path, name: str, classes: Classes) -> Labels:
    """The labels in a file of `folder`, packed or not."""
    path = existing(folder / name) or folder / name
    labels = read_idx(path).astype(np.int64)
    check_labels(path, labels, classes, len(labels))
    return labels


def read_idx_dataset(
    folder: Path, name: str, files: tuple[str, ...], classes: Classes, transposed: bool = False
) -> ImageDataset:
    """files: training images, training labels, test images, test labels. transposed: images lie on their side."""
    images = [read_idx(existing(folder / part) or folder / part) for part in (files[0], files[2])]
    labels = [read_idx_labels(folder, part, classes) for part in (files[1], files[3])]
    for split in range(2):
        check_labels(folder, labels[split], classes, len(images[split]))
    if transposed:
        images = [np.ascontiguousarray(part.transpose(0, 2, 1)) for part in images]
    return ImageDataset(name, images[0], labels[0], images[1], labels[1], classes)
