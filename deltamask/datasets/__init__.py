"""Datasets by name, read from their real on-disk formats. Needs no torch.

Folders are laid out as torchvision's dataset classes leave them, so that what such a class downloaded is found; the
reading is NumPy, Pillow and SciPy, so that a dashboard can draw a label split without torch.
"""

from __future__ import annotations

from deltamask.datasets import bbc_news, idx, image_files, small  # noqa: F401  (they register themselves)
from deltamask.datasets.base import (
    Classes,
    DatasetError,
    DatasetSpec,
    ImageDataset,
    Images,
    Labels,
    datasets,
    roots,
)
from deltamask.datasets.idx import DEBIAN_FASHION, read_idx, write_idx
from deltamask.datasets.image_files import FOLDER, BrokenImage, ImageFiles, folder_spec

__all__ = [
    "DEBIAN_FASHION", "FOLDER", "BrokenImage", "Classes", "DatasetError", "DatasetSpec", "ImageDataset", "ImageFiles",
    "Images", "Labels", "datasets", "get", "labels", "load", "names", "read_idx", "roots",
    "write_idx",
]  # fmt: skip

names = datasets.names


def get(name: str) -> DatasetSpec:
    """The entry called `name`, or that of `folder:PATH`. KeyError lists the names that exist."""
    if name.startswith(FOLDER):
        return folder_spec(name)
    try:
        return datasets[name]
    except KeyError as error:
        raise KeyError(f"{error.args[0]}, {FOLDER}PATH") from None


def load(name: str) -> ImageDataset:
    """Read a dataset. KeyError lists the names that exist; DatasetError says how to get a missing one."""
    return get(name).read()


def labels(name: str) -> tuple[Labels, Classes]:
    """(training labels (n,), class names) as `load` gives them, without decoding an image. Raises as `load`."""
    spec = get(name)
    if spec.labels is not None:
        return spec.labels()
    data = spec.read()
    return data.train_y, data.classes
