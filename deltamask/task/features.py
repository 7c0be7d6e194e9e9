"""Trunk features, computed once and cached on disk (`feature_cache.py`).

The trunk is frozen, so its output for an image never changes. Batches are computed and appended one by one: a
killed run loses at most one, and a run on fewer images computes no more than it needs, rounded up to whole batches.
"""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from deltamask.backbones import BackboneError
from deltamask.backbones.split import Backbone
from deltamask.base.progress import Progress
from deltamask.base.units import byte_size
from deltamask.datasets import BrokenImage, DatasetError, ImageDataset, Images, StoredImages
from deltamask.datasets.pictures import middle
from deltamask.task.feature_cache import (
    CacheError,
    Chunk,
    FeatureFile,
    FeatureKey,
    check_room,
    images_of,
    read_row,
    write_meta,
)

__all__ = ["FeatureKey", "Features", "Progress", "feature_key", "load_features", "padded", "preprocess"]

BATCH = 50
DECODERS = min(8, os.cpu_count() or 1)  # threads, each of which holds an image
DECODING = 2  # of `datasets/pictures.py`: to be raised when a file's pixels come out otherwise than before

Plan = tuple[FeatureFile, Images | StoredImages, int]  # where a split's features lie, its images, how many of them


@dataclass(frozen=True)
class Features:
    """Features of a split, of those images that can be read.

    x: (rows, …), float32 or float16, mapped from disk and not to be written to. kept: (rows,) which image each row is
    of, in the dataset's order. skipped: the files that could not be read.
    """

    x: Tensor
    kept: npt.NDArray[np.int64]
    skipped: tuple[str, ...]


def feature_key(backbone: Backbone, masked_blocks: int, data: ImageDataset, size: int, precision: str) -> FeatureKey:
    """The place of these features in the cache."""
    how = f"short side, centre crop, {backbone.interpolation}, mean {backbone.mean}, std {backbone.std}"
    if not isinstance(data.train_x, np.ndarray):
        how += f", decoding {DECODING}"
    name = data.name.rstrip("/").rsplit("/", 1)[-1]  # a folder that has moved is still the same
    return FeatureKey(
        backbone.name, backbone.weights_id, masked_blocks, name, data.fingerprint, size, how, precision
    )  # fmt: skip


def preprocess(images: Images, backbone: Backbone, size: int) -> Tensor:
    """(n, h, w[, 3]) uint8 to (n, 3, size, size) float32: the short side resized to `size`, the middle cut out,
    normalised as the backbone expects. A text backbone makes tokens of (n,) texts instead."""
    if backbone.tokenize is not None:
        return backbone.tokenize(images)
    from torchvision.transforms import InterpolationMode  # a second to import, and no need of it when all is cached
    from torchvision.transforms import functional as transforms

    left, top, right, bottom = middle(images.shape[2], images.shape[1])  # of a very long image, no more is needed
    pixels = torch.from_numpy(images[:, top:bottom, left:right].copy()).float() / 255
    pixels = pixels[:, None].expand(-1, 3, -1, -1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
    resized = transforms.resize(pixels, [size], InterpolationMode(backbone.interpolation), antialias=True)
    square = transforms.center_crop(resized, [size, size])
    normalised: Tensor = transforms.normalize(square, list(backbone.mean), list(backbone.std))
    return normalised.contiguous(memory_format=torch.channels_last)


def _inputs(images: Images | StoredImages, backbone: Backbone, size: int) -> tuple[Tensor, list[BrokenImage | None]]:
    """The trunk's input for a few images, and what is wrong with each file. A broken image's input is zeros."""
    if isinstance(images, np.ndarray):
        return preprocess(images, backbone, size), [None] * len(images)

    def one(at: int) -> tuple[Tensor, BrokenImage | None]:
        try:
            return preprocess(images.decode(at, 2 * size)[None], backbone, size)[0], None
        except BrokenImage as error:
            return torch.zeros(3, size, size), error

    with ThreadPoolExecutor(DECODERS) as pool:  # decoding releases the interpreter's lock
        tensors, faults = zip(*pool.map(one, range(len(images))), strict=True)
    return torch.stack(tensors).contiguous(memory_format=torch.channels_last), list(faults)


def _rows(features: Tensor) -> npt.NDArray[Any]:
    """As they lie on disk: feature maps with their channels last, so that they can be mapped in that layout."""
    return (features.permute(0, 2, 3, 1) if features.ndim == 4 else features).contiguous().numpy()


def _stored(rows: npt.NDArray[Any], precision: str) -> npt.NDArray[Any]:
    """The rows in the precision they are kept in. CacheError if one is too large for it."""
    with np.errstate(over="ignore"):
        kept = rows.astype(precision, copy=False)
    if not np.isfinite(kept).all() and np.isfinite(rows).all():
        raise CacheError(
            f"a feature of {np.abs(rows).max():g} is too large for {precision}: use feature_precision float32"
        )
    return kept


@torch.inference_mode()
def _batch(
    images: Images | StoredImages, backbone: Backbone, size: int, precision: str, skip: bool
) -> tuple[npt.NDArray[Any], list[int]]:
    """(rows of the images that can be read, positions of the others). BrokenImage at the first of these unless skip.

    BackboneError where the trunk's answer is not finite: nothing could be learnt from it.
    """
    x, faults = _inputs(images, backbone, size)
    if not skip and (fault := next(filter(None, faults), None)):
        raise fault
    good = [at for at, fault in enumerate(faults) if fault is None]
    broken = [at for at, fault in enumerate(faults) if fault is not None]
    rows = _rows(backbone.trunk(padded(x, BATCH)))[good]
    finite = np.array([np.isfinite(row).all() for row in rows], np.bool_)
    if not finite.all():
        at = good[int(np.argmin(finite))]
        name = "a sample" if isinstance(images, np.ndarray) else images.source(at)
        raise BackboneError(
            f"backbone {backbone.name} answers {name} with NaN or infinity: its weights ({backbone.weights_id}) are "
            "damaged or too large"
        )
    return _stored(rows, precision), broken


def _faults(images: StoredImages, positions: list[int], size: int) -> list[str]:
    """What is wrong with the images at these positions: a line for each that cannot be read."""

    def fault(at: int) -> tuple[str, ...]:
        try:
            images.decode(at, 2 * size)
        except BrokenImage as error:
            return error.faults
        return ()

    with ThreadPoolExecutor(DECODERS) as pool:
        return [line for lines in pool.map(fault, positions) for line in lines]


def _all_faults(plans: list[Plan], size: int, progress: Progress) -> list[str]:
    """What is wrong with any image that is asked for, so that all can be put right at once."""
    what, lines = "looking for other images that cannot be read", []
    for file, images, total in plans:
        if isinstance(images, np.ndarray):
            continue
        chunks = file.chunks()
        positions = [at for at in _broken(chunks) if at < total] + list(range(images_of(chunks), total))
        for start in range(0, len(positions), BATCH):
            progress(what, start, len(positions))
            lines += _faults(images, positions[start : start + BATCH], size)
    return lines


def padded(batch: Tensor, size: int) -> Tensor:
    """`batch` filled up with zeros to `size` rows.

    A sample's last bits depend on how many others are computed with it, though not on which. With batches of one size
    they depend on the sample alone: a node that holds a part of the images gets the very features of the whole.
    """
    if len(batch) == size:
        return batch
    whole = batch.new_zeros(size, *batch.shape[1:])
    if batch.ndim == 4:
        whole = whole.contiguous(memory_format=torch.channels_last)
    whole[: len(batch)] = batch
    return whole


def _missing(file: FeatureFile, images: Images | StoredImages, total: int) -> int:
    """Bytes that are still to be computed for the first `total` images. Batches are computed whole."""
    needed = min(-(-total // BATCH) * BATCH, len(images))
    return max(0, needed - images_of(file.chunks())) * file.row_bytes


def load_features(
    data: ImageDataset,
    counts: tuple[int, int],
    key: FeatureKey,
    backbone: Backbone,
    progress: Progress,
    bad_images: str = "stop",
) -> tuple[Features, Features]:
    """Features of the first `counts` training and test images, from the cache where it has them; 0: none.

    Raises CacheError before anything is computed if the rest does not fit; BrokenImage, naming all files that cannot be
    read, unless bad_images is `skip`; BackboneError where a feature is not finite; OSError if the cache cannot be
    written.
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
    try:
        train, test = (_load_split(*plan, backbone, progress, bad_images == "skip") for plan in plans)
    except BrokenImage as first_found:
        raise BrokenImage(_all_faults(plans, key.image_size, progress) or first_found.faults) from first_found
    if any(count and not len(split.kept) for count, split in zip(counts, (train, test), strict=True)):
        first = (train.skipped + test.skipped)[0]
        raise DatasetError(f"dataset {data.name!r}: none of its images can be read, {first} is the first")
    return train, test


def _broken(chunks: list[Chunk]) -> list[int]:
    """Which of a split's images could not be read."""
    starts = accumulate((chunk.images for chunk in chunks), initial=0)
    return [start + at for start, chunk in zip(starts, chunks, strict=False) for at in chunk.broken]


def _load_split(
    file: FeatureFile, images: Images | StoredImages, total: int, backbone: Backbone, progress: Progress, skip: bool
) -> Features:
    if total == 0:
        return Features(torch.empty(0), np.zeros(0, np.int64), ())
    what = f"trunk features, {file.data.stem}: {total:,} samples, {byte_size(total * file.row_bytes)}"
    chunks = file.chunks()
    before = [at for at in _broken(chunks) if at < total]
    if not isinstance(images, np.ndarray) and before:
        if len(_faults(images, before, file.key.image_size)) < len(before):  # one can be read now
            file.forget()
            chunks = []
        elif not skip:
            images.decode(before[0])  # says what is wrong with it
    progress(what, min(images_of(chunks), total), total)
    while (start := images_of(chunks)) < total:  # from the first again, if the cache was cleared meanwhile
        part = images[start : start + BATCH]
        file.append(len(chunks), *_batch(part, backbone, file.key.image_size, file.key.precision, skip))
        chunks = file.chunks()
        progress(what, min(images_of(chunks), total), total)
    broken = [at for at in _broken(chunks) if at < total]
    kept = np.setdiff1d(np.arange(total), broken)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it cannot be written to is what we want
        x = torch.from_numpy(file.map(len(kept)))
    skipped = () if isinstance(images, np.ndarray) else tuple(images.source(at) for at in broken)
    return Features(x.permute(0, 3, 1, 2) if x.ndim == 4 else x, kept, skipped)
