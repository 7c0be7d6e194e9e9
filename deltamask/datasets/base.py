"""What a dataset is, the registry, and where data lies. Needs no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from deltamask.base.paths import data_dir, download_dir
from deltamask.base.registry import Registry

if TYPE_CHECKING:
    from deltamask.datasets.download import Download
    from deltamask.datasets.image_files import ImageFiles

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Classes = tuple[str, ...]


class DatasetError(RuntimeError):
    """The dataset cannot be read; the message says what to do."""


@dataclass(frozen=True)
class ImageDataset:
    """A dataset with labels in a fixed order, so that "the first 6,000" names the same images everywhere.

    train_x, test_x: (n, height, width) or (n, height, width, 3) uint8, or `ImageFiles`, n images of any size that are
    decoded when they are asked for. train_y, test_y: (n,) class indices.
    """

    name: str
    train_x: Images | ImageFiles
    train_y: Labels
    test_x: Images | ImageFiles
    test_y: Labels
    classes: Classes

    @property
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
class DatasetSpec:
    """A dataset's entry: how to read it, and what a user should know before.

    where: the place it is read from, or None where it is missing or incomplete; `read` then raises DatasetError, which
    says why. labels: (training labels, class names) for which no image need be read; None: `read` is quick.
    size_bytes: what is downloaded. download: what `deltamask download` fetches; None where nothing can be fetched.
    """

    read: Callable[[], ImageDataset]
    where: Callable[[], Path | None]
    license: str
    how_to_get: str
    size_bytes: int
    labels: Callable[[], tuple[Labels, Classes]] | None = None
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


def roots() -> list[Path]:
    """The folders in which datasets are looked for. Each is laid out as torchvision's `root`."""
    return list(dict.fromkeys([data_dir(), download_dir()]))


@dataclass(frozen=True)
class Layout:
    """A folder under a root, and files (or folders) in it that make it complete. A name of a file may end in `.gz`."""

    folder: str
    files: tuple[str, ...]

    def missing(self, root: Path) -> list[str]:
        """The files that are not there."""
        return [name for name in self.files if existing(root / self.folder / name) is None]


def existing(path: Path) -> Path | None:
    """The file, or the same packed with gzip, or None."""
    return next((one for one in (path, path.with_name(path.name + ".gz")) if one.exists()), None)


def register_rooted(
    name: str,
    layouts: tuple[Layout, ...],
    read: Callable[[Path], ImageDataset],
    *,
    license: str,
    how_to_get: str,
    size_bytes: int,
    labels: Callable[[Path], tuple[Labels, Classes]] | None = None,
    download: Download | None = None,
    places: Callable[[], list[Path]] = roots,
) -> None:
    """Register a dataset that lies in one of `layouts` under one of `places`; `read` and `labels` get its folder."""

    def where() -> Path | None:
        found = (root / one.folder for root in places() for one in layouts if not one.missing(root))
        return next(found, None)

    def folder() -> Path:
        found = where()
        if found is not None:
            return found
        for root in places():
            for one in layouts:
                lacking = one.missing(root)
                if 0 < len(lacking) < len(one.files):
                    raise DatasetError(
                        f"dataset {name!r}: {root / one.folder} is incomplete, {', '.join(lacking[:3])} "
                        f"missing; complete it, or move it away and get it again: {how_to_get}"
                    )
        looked = f"{' or '.join(one.folder for one in layouts if one.folder)} in {' and '.join(map(str, places()))}"
        raise DatasetError(f"dataset {name!r} is not on this machine: {how_to_get} (looked for {looked})")

    def read_labels() -> tuple[Labels, Classes]:
        assert labels is not None
        return labels(folder())

    datasets.register(name)(
        DatasetSpec(
            read=lambda: read(folder()),
            where=where,
            license=license,
            how_to_get=how_to_get,
            size_bytes=size_bytes,
            labels=read_labels if labels else None,
            download=download,
        )
    )


def check_labels(path: Path, labels: Labels, classes: Classes, count: int) -> None:
    """DatasetError unless there is one label in [0, classes) for each of `count` images."""
    if len(labels) != count:
        raise DatasetError(f"{path}: {count} images and {len(labels)} labels: images and labels differ in number")
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
        raise DatasetError(f"{path}: labels from {labels.min()} to {labels.max()} for {len(classes)} classes")
