"""What a dataset is and the registry of all of them. Needs no torch, and nothing else of this folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from deltamask.base.registry import Registry
from deltamask.base.remote import Remote

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Classes = tuple[str, ...]


class DatasetError(RuntimeError):
    """The dataset cannot be read; the message says what to do."""


class StoredImages(Protocol):
    """Images that are decoded when they are asked for, so that no dataset has to fit into memory."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> StoredImages: ...

    def decode(self, at: int, short_side: int = 0) -> Images:
        """One image, (height, width, 3). short_side: pixels that are enough; 0: all. Raises DatasetError."""
        ...

    def source(self, at: int) -> str:
        """What one image was read from, for messages."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes when an image does."""
        ...


@dataclass(frozen=True)
class Groups:
    """Who made which training sample: a dataset's own clients. of: (n,) indices into `names`, in the samples' order."""

    names: tuple[str, ...]
    of: Labels

    def pick(self, samples: npt.NDArray[np.int64] | slice) -> Groups:
        """Those of some of the samples."""
        return Groups(self.names, self.of[samples])


@dataclass(frozen=True)
class ImageDataset:
    """A dataset with labels in a fixed order, so that "the first 6,000" names the same images everywhere.

    train_x, test_x: (n, height, width) or (n, height, width, 3) uint8; or (n,) texts; or `StoredImages`, n images of
    any size that are decoded when they are asked for. train_y, test_y: (n,) class indices. groups: of the training
    samples, where the dataset has some. notes: sentences that whoever uses it should read (what was left out, and why).
    """

    name: str
    train_x: Images | StoredImages
    train_y: Labels
    test_x: Images | StoredImages
    test_y: Labels
    classes: Classes
    groups: Groups | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the content, so that a feature cache never outlives the images it was made from.

        Of image files: their names, sizes and times of change, since to read gigabytes at every start would be slow.
        """
        digest = hashlib.sha256()
        for part in (self.train_x, self.train_y, self.test_x, self.test_y):
            if isinstance(part, np.ndarray):
                digest.update(str(part.shape).encode())
                digest.update(np.ascontiguousarray(part).view(np.uint8).data)
            else:
                digest.update(part.fingerprint.encode())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Download:
    """What a dataset consists of, and the folder under the root that it goes to. unpack: the files are archives."""

    files: tuple[Remote, ...]
    into: str = ""
    unpack: bool = False

    @property
    def size(self) -> int:
        """Bytes that are fetched."""
        return sum(file.size for file in self.files)

    @property
    def hosts(self) -> str:
        """Who sends them."""
        return ", ".join(sorted({file.host for file in self.files}))


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset's entry: how to read it, and what a user should know before.

    where: the place it is read from, or None where it is missing or incomplete; `read` then raises DatasetError, which
    says why. labels: (training labels, class names) for which no image need be read; None: `read` is quick. groups: a
    few words on what the dataset's own clients are ("one folder a client"); None where it has none. size_bytes: what is
    downloaded. download: what `deltamask download` fetches; None where nothing can be fetched.
    """

    read: Callable[[], ImageDataset]
    where: Callable[[], Path | None]
    license: str
    how_to_get: str
    size_bytes: int
    labels: Callable[[], tuple[Labels, Classes]] | None = None
    groups: str | None = None
    download: Download | None = None

    def fault(self) -> str | None:
        """Why it cannot be read; None where it is here."""
        if self.where() is None:
            try:
                self.read()  # says what is missing of it
            except DatasetError as error:
                return str(error)
        return None


datasets: Registry[DatasetSpec] = Registry("dataset")

# Datasets that are named by a place, such as `folder:PATH`: the beginning of the name, and what makes an entry of it.
families: Registry[Callable[[str], DatasetSpec]] = Registry("family of datasets")


def check_labels(path: Path, labels: Labels, classes: Classes, count: int) -> None:
    """DatasetError unless there is one label in [0, classes) for each of `count` images."""
    if len(labels) != count:
        raise DatasetError(f"{path}: {count} images and {len(labels)} labels: images and labels differ in number")
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
        raise DatasetError(f"{path}: labels from {labels.min()} to {labels.max()} for {len(classes)} classes")
