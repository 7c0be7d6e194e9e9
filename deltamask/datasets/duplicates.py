"""Samples that occur twice where they should not: in two classes, or both in training and in test set."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deltamask.base.names import shown
from deltamask.datasets.image_files import ImageFiles
from deltamask.datasets.spec import ImageDataset

NAMED = 3  # pairs that a note names
END = 1 << 12  # bytes at each end of a file that are compared before the whole of it

Key = Callable[["Sample"], Hashable]


class Sample(NamedTuple):
    """One of a dataset's samples: in which split, the how many-th, and of which class."""

    split: str
    at: int
    label: int


def identical(data: ImageDataset, used: tuple[Iterable[int], Iterable[int]] | None = None) -> tuple[str, ...]:
    """A note for each of the two kinds, where there are any. Of image files: those that are equal byte for byte.

    used: which training and which test samples are looked at; None: all. Files are opened only where others have their
    size, and read whole only where others have their ends.
    """
    train, test = used or (range(len(data.train_y)), range(len(data.test_y)))
    samples = [Sample("training", int(at), int(data.train_y[at])) for at in train]
    samples += [Sample("test", int(at), int(data.test_y[at])) for at in test]
    alike = [samples]
    for key in _keys(data):
        alike = [finer for coarse in alike for finer in _divided(coarse, key)]
    kind = "texts" if isinstance(data.train_x, np.ndarray) and data.train_x.dtype.kind == "U" else "images"
    notes = []
    for where, part in (("in more than one class", "label"), ("in both training and test set", "split")):
        found = [group for group in alike if len({getattr(sample, part) for sample in group}) > 1]
        if found:
            pairs = "; ".join(_pair(data, group, part) for group in found[:NAMED])
            notes.append(f"identical {kind} {where}: {len(found):,} ({pairs}{'; …' if len(found) > NAMED else ''})")
    return tuple(notes)


def _divided(samples: list[Sample], key: Key) -> list[list[Sample]]:
    """Those that share a key with another, together."""
    found: dict[Hashable, list[Sample]] = {}
    for sample in samples:
        found.setdefault(key(sample), []).append(sample)
    return [group for group in found.values() if len(group) > 1]


def _keys(data: ImageDataset) -> list[Key]:
    """What equal samples have in common, the cheapest first; the last one decides."""
    train, test = data.train_x, data.test_x
    if isinstance(train, ImageFiles) and isinstance(test, ImageFiles):
        places = {"training": train, "test": test}

        def of_file(read: Callable[[Path], Hashable]) -> Key:
            def key(sample: Sample) -> Hashable:
                files = places[sample.split]
                try:
                    return read(files.root / files.paths[sample.at])
                except OSError:
                    return sample  # equal to none; that it cannot be read is said elsewhere

            return key

        return [of_file(read) for read in (_size, _ends, _content)]
    if isinstance(train, np.ndarray) and isinstance(test, np.ndarray):
        arrays = {"training": train, "test": test}
        return [lambda sample: hashlib.sha256(arrays[sample.split][sample.at].tobytes()).digest()]
    return [lambda sample: sample]  # of images stored otherwise nothing is known without decoding them


def _size(path: Path) -> int:
    return path.stat().st_size


def _ends(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(END)
        file.seek(-min(END, file.seek(0, os.SEEK_END)), os.SEEK_END)
        return head + file.read(END)


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _pair(data: ImageDataset, alike: list[Sample], part: str) -> str:
    """The first of them and another that differs from it in `part`."""
    first = alike[0]
    other = next(sample for sample in alike if getattr(sample, part) != getattr(first, part))
    return f"{_name(data, first)} = {_name(data, other)}"


def _name(data: ImageDataset, sample: Sample) -> str:
    files = data.train_x if sample.split == "training" else data.test_x
    if isinstance(files, ImageFiles):
        return shown(files.paths[sample.at])
    return f"{sample.split} sample {sample.at} ({data.classes[sample.label]})"
