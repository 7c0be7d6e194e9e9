"""Trunk features, computed once and cached on disk (`cache.py`).

The trunk is frozen, so its output for an image never changes. Chunks of 500 images are computed and appended one by
one: a killed run loses at most one, and a run on fewer images computes no more than it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms

from deltamask.cache import FeatureFile, FeatureKey, cache_dir, check_room, human, read_row, write_meta
from deltamask.datasets import BrokenImage, DatasetError, ImageDataset, ImageFiles, Images
from deltamask.tail import Backbone

__all__ = ["FeatureKey", "Features", "Progress", "cache_dir", "feature_key", "load_features", "preprocess"]

CHUNK = 500
BATCH = 50

Progress = Callable[[str, int, int], None]  # (what, done, total)


@dataclass(frozen=True)
class Features:
    """x: (rows, …), mapped from disk, float32 or float16. kept: (rows,) which image each row is of, in the dataset's
    order. skipped: the files that could not be read, and have no row."""

    x: Tensor
    kept: npt.NDArray[np.int64]
    skipped: tuple[str, ...]


def feature_key(backbone: Backbone, masked_blocks: int, data: ImageDataset, size: int, precision: str) -> FeatureKey:
    """The place of these features in the cache."""
    how = f"short side, centre crop, {backbone.interpolation}, mean {backbone.mean}, std {backbone.std}"
    name = data.name.rstrip("/").rsplit("/", 1)[-1]  # a folder that has moved is still the same
    return FeatureKey(
        backbone.name, backbone.weights_id, masked_blocks, name, data.fingerprint, size, how, precision
    )  # fmt: skip


def preprocess(images: Images, backbone: Backbone, size: int) -> Tensor:
    """(n, h, w[, 3]) uint8 to (n, 3, size, size) float32: the short side resized to `size`, the middle cut out,
    normalised as the backbone expects. A text backbone makes tokens of (n,) texts instead."""
    if backbone.tokenize is not None:
        return backbone.tokenize(images)
    pixels = torch.from_numpy(images.copy()).float() / 255
    pixels = pixels[:, None].expand(-1, 3, -1, -1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
    resized = transforms.resize(pixels, [size], InterpolationMode(backbone.interpolation), antialias=True)
    square = transforms.center_crop(resized, [size, size])
    normalised: Tensor = transforms.normalize(square, list(backbone.mean), list(backbone.std))
    return normalised.contiguous(memory_format=torch.channels_last)


def _inputs(images: Images | ImageFiles, backbone: Backbone, size: int) -> tuple[Tensor, list[BrokenImage | None]]:
    """The trunk's input for a few images, and what is wrong with each file. A broken image's input is zeros."""
    if isinstance(images, np.ndarray):
        return preprocess(images, backbone, size), [None] * len(images)

    def one(at: int) -> tuple[Tensor, BrokenImage | None]:
        try:
            return preprocess(images[at][None], backbone, size)[0], None
        except BrokenImage as error:
            return torch.zeros(3, size, size), error

    with ThreadPoolExecutor() as pool:  # decoding releases the interpreter's lock
        tensors, faults = zip(*pool.map(one, range(len(images))), strict=True)
    return torch.stack(tensors).contiguous(memory_format=torch.channels_last), list(faults)


def _rows(features: Tensor) -> npt.NDArray[Any]:
    """As they lie on disk: feature maps with their channels last, so that they can be mapped in that layout."""
    return (features.permute(0, 2, 3, 1) if features.ndim == 4 else features).contiguous().numpy()


@torch.inference_mode()
def _chunk(
    images: Images | ImageFiles, backbone: Backbone, size: int, precision: str, skip: bool, tick: Callable[[int], None]
) -> tuple[npt.NDArray[Any], list[int]]:
    """(rows of the images that can be read, positions of the others). BrokenImage at the first of these unless skip."""
    parts, broken = [], []
    for start in range(0, len(images), BATCH):
        x, faults = _inputs(images[start : start + BATCH], backbone, size)
        if not skip and (fault := next(filter(None, faults), None)):
            raise fault
        good = [at for at, fault in enumerate(faults) if fault is None]
        broken += [start + at for at, fault in enumerate(faults) if fault is not None]
        parts.append(_rows(backbone.trunk(x))[good].astype(precision, copy=False))
        tick(len(x))
    return np.concatenate(parts), broken


def _count(file: FeatureFile, images: Images | ImageFiles, total: int) -> int:
    """How many of the first `total` images are there."""
    return min(len(file.chunks()) * CHUNK, len(images), total)


def _missing(file: FeatureFile, images: Images | ImageFiles, total: int) -> int:
    """Bytes that are still to be computed for the first `total` images. Chunks are computed whole."""
    there, needed = (min(chunks * CHUNK, len(images)) for chunks in (len(file.chunks()), -(-total // CHUNK)))
    return max(0, needed - there) * file.row_bytes


def load_features(
    data: ImageDataset,
    counts: tuple[int, int],
    key: FeatureKey,
    backbone: Backbone,
    progress: Progress,
    bad_images: str = "stop",
) -> tuple[Features, Features]:
    """Features of the first `counts` training and test images, from the cache where it has them; 0: none.

    Raises CacheError before anything is computed if the rest does not fit; BrokenImage, naming the file, at an image
    that cannot be read, unless bad_images is `skip`; OSError if the cache cannot be written.
    """
    splits = (("train", data.train_x, counts[0]), ("test", data.test_x, counts[1]))
    row = read_row(key)
    if row is None:
        with torch.inference_mode():
            row = _rows(backbone.trunk(_inputs(data.train_x[:1], backbone, key.image_size)[0])).shape[1:]
    plans = [(FeatureFile(key, split, row), images, min(count, len(images))) for split, images, count in splits]
    missing = sum(_missing(*plan) for plan in plans)
    if missing:
        halves = "" if key.precision == "float16" else "feature_precision float16 halves it, "
        check_room(missing, f"{halves}fewer train_samples and test_samples or a smaller image_size need less")
        write_meta(key, row)
    train, test = (_load_split(*plan, backbone, progress, bad_images == "skip") for plan in plans)
    if not len(train.kept) or (counts[1] and not len(test.kept)):
        first = (train.skipped + test.skipped)[0]
        raise DatasetError(f"dataset {data.name!r}: none of its images can be read, {first} is the first")
    return train, test


def _load_split(
    file: FeatureFile, images: Images | ImageFiles, total: int, backbone: Backbone, progress: Progress, skip: bool
) -> Features:
    if total == 0:
        return Features(torch.empty(0), np.zeros(0, np.int64), ())
    what = f"trunk features, {file.data.stem}: {total:,} images, {human(total * file.row_bytes)}"
    done = _count(file, images, total)
    progress(what, done, total)

    def tick(count: int) -> None:
        nonlocal done
        done += count
        progress(what, min(done, total), total)

    while _count(file, images, total) < total:  # again, if the cache was cleared meanwhile
        at = len(file.chunks())
        done = at * CHUNK
        part = images[at * CHUNK : (at + 1) * CHUNK]
        file.append(at, *_chunk(part, backbone, file.key.image_size, file.key.precision, skip, tick))
    chunks = file.chunks()
    broken = [at * CHUNK + one for at, chunk in enumerate(chunks) for one in chunk.broken if at * CHUNK + one < total]
    if broken and not skip:
        images[broken[0]]  # says what is wrong with it
    kept = np.setdiff1d(np.arange(total), broken)
    x = torch.from_numpy(file.map(len(kept)))
    skipped = tuple(str(images.root / images.paths[at]) for at in broken) if isinstance(images, ImageFiles) else ()
    return Features(x.permute(0, 3, 1, 2) if x.ndim == 4 else x, kept, skipped)
