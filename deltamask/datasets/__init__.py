"""Datasets by name, read from their real on-disk formats. Needs no torch.

Folders are laid out as torchvision's dataset classes leave them, so that what such a class downloaded is found; the
reading is NumPy, Pillow and SciPy, so that a dashboard can draw a label split without torch.
"""

from __future__ import annotations

from deltamask.base.registry import import_all
from deltamask.datasets import catalogue
from deltamask.datasets.checks import checked
from deltamask.datasets.duplicates import identical
from deltamask.datasets.folder import CLIENTS, FOLDER
from deltamask.datasets.identity import differences, identity
from deltamask.datasets.idx import read_idx, write_idx
from deltamask.datasets.image_files import BrokenImage, ImageFiles
from deltamask.datasets.places import roots
from deltamask.datasets.spec import (
    Classes,
    DatasetError,
    DatasetSpec,
    Groups,
    ImageDataset,
    Images,
    Labels,
    StoredImages,
    datasets,
    families,
)

__all__ = [
    "CLIENTS",
    "FOLDER",
    "BrokenImage",
    "Classes",
    "DatasetError",
    "DatasetSpec",
    "Groups",
    "ImageDataset",
    "ImageFiles",
    "Images",
    "Labels",
    "StoredImages",
    "checked",
    "datasets",
    "differences",
    "families",
    "get",
    "identical",
    "identity",
    "labels",
    "load",
    "names",
    "read_idx",
    "roots",
    "write_idx",
]  # fmt: skip

import_all(catalogue.__name__, catalogue.__path__)
names = datasets.names


def get(name: str) -> DatasetSpec:
    """The entry called `name`, or that of `folder:PATH`. KeyError lists the names that exist."""
    for prefix in families:
        if name.startswith(prefix):
            return families[prefix](name)
    try:
        return datasets[name]
    except KeyError as error:
        raise KeyError(f"{error.args[0]}, {', '.join(f'{prefix}PATH' for prefix in families)}") from None


def load(name: str) -> ImageDataset:
    """Read a dataset. KeyError lists the names that exist; DatasetError says how to get a missing one.

    Its samples are brought into the form that `ImageDataset` promises, or refused with the reason.
    """
    return checked(get(name).read())


def labels(name: str) -> tuple[Labels, Classes]:
    """(training labels (n,), class names) as `load` gives them, without decoding an image. Raises as `load`."""
    spec = get(name)
    if spec.labels is not None:
        return spec.labels()
    data = load(name)
    return data.train_y, data.classes
