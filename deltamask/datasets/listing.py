"""Lists of image files: their order, what is held out where there is no official split, and the dataset they make."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from deltamask.base.names import raw
from deltamask.datasets.image_files import ImageFiles
from deltamask.datasets.spec import Classes, Groups, ImageDataset, check_labels

TEST_SHARE = 5  # where there is no official split, one image in five of each class is held out

Listing = list[tuple[str, int]]  # (path relative to the root, class)


def shuffled(listing: Listing) -> Listing:
    """In the order of a hash of each path: classes mixed, the same everywhere, and hardly changed by one file more."""
    return sorted(listing, key=lambda entry: hashlib.sha256(raw(entry[0])).digest())


def hold_out(listing: Listing) -> tuple[Listing, Listing]:
    """(training, test) where no split is given: of each class the first fifth in the order of `shuffled`.

    It is the same for every run and seed, so that all of them are measured on the same images.
    """
    by_class: dict[int, Listing] = {}
    for entry in shuffled(listing):
        by_class.setdefault(entry[1], []).append(entry)
    held_out: set[tuple[str, int]] = set()
    for entries in by_class.values():
        held_out.update(entries[: max(round(len(entries) / TEST_SHARE), int(len(entries) > 1))])
    return [entry for entry in listing if entry not in held_out], sorted(held_out)


def image_dataset(
    name: str,
    root: Path,
    train: Listing,
    test: Listing,
    classes: Classes,
    *,
    group_of: dict[str, str] | None = None,
    notes: tuple[str, ...] = (),
) -> ImageDataset:
    """Both listings, shuffled, as a dataset. group_of: of each training path, where the dataset has clients itself."""
    train, test = shuffled(train), shuffled(test)
    labels = [np.array([label for _, label in part], np.int64) for part in (train, test)]
    for part, listed in zip(labels, (train, test), strict=True):
        check_labels(root, part, classes, len(listed))
    files = [ImageFiles(root, tuple(path for path, _ in part)) for part in (train, test)]
    groups = None
    if group_of is not None:
        names = sorted(set(group_of.values()))
        at = {group: number for number, group in enumerate(names)}
        groups = Groups(tuple(names), np.array([at[group_of[path]] for path, _ in train], np.int64))
    return ImageDataset(name, files[0], labels[0], files[1], labels[1], classes, groups, notes)
