"""What is looked at in every dataset, whoever made it: that its samples and labels have the form they should have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deltamask.datasets.pictures import to_bytes, value_span
from deltamask.datasets.spec import DatasetError, ImageDataset, Images, Labels, check_labels

BLOCK = 1000  # images that are scaled at a time

Span = tuple[float, float]  # the values that become 0 and 255


def checked(data: ImageDataset) -> ImageDataset:
    """The dataset in the form that `ImageDataset` promises. DatasetError, with the reason, where it has none.

    Images of other numbers than bytes are scaled as image files are (`datasets/pictures.py`), both splits by the
    training images' range; a channel for transparency is laid on white; lists of texts become arrays.
    """
    span: Span | None = None
    parts: dict[str, Any] = {}
    notes = list(data.notes)
    for split in ("train", "test"):
        x, what = getattr(data, f"{split}_x"), f"{data.name}: {split}_x"
        if isinstance(x, np.ndarray | list | tuple):
            x = np.asarray(x)
            if _is_text(x):
                x = x.astype(np.str_, copy=False)
                empty = sum(not text.strip() for text in x)
                notes += [f"{what}: {empty:,} of {len(x):,} texts are empty"] if empty else []
            else:
                _check_images(x, what)
                if x.dtype != np.uint8:
                    span = span or _span(x)
                    x = _scaled(x, span, what)
                x = _colours(x)
        labels = _labels(getattr(data, f"{split}_y"), f"{data.name}: {split}_y")
        check_labels(Path(f"{data.name}: {split}"), labels, data.classes, len(x))
        parts |= {f"{split}_x": x, f"{split}_y": labels}
    count = len(parts["train_y"])
    if count == 0:
        raise DatasetError(f"{data.name}: no training samples")
    if data.groups is not None and len(data.groups.of) != count:
        raise DatasetError(f"{data.name}: groups of {len(data.groups.of)} samples, and there are {count} to train on")
    return replace(data, **parts, notes=tuple(notes))


def _is_text(x: npt.NDArray[Any]) -> bool:
    return x.ndim == 1 and (x.dtype.kind == "U" or (x.dtype.kind == "O" and all(isinstance(one, str) for one in x)))


def _check_images(x: npt.NDArray[Any], what: str) -> None:
    if x.dtype.kind not in "uifb":
        raise DatasetError(f"{what}: an array of {x.dtype}; images are numbers, and texts are strings")
    if x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[3] not in (1, 3, 4)) or 0 in x.shape[1:]:
        raise DatasetError(
            f"{what}: of shape {x.shape}; images are (n, height, width), or (n, height, width, 3): channels last"
        )
    if x.dtype.kind == "f":
        broken = np.array([not np.isfinite(image).all() for image in x], np.bool_)
        if broken.any():
            count, first = np.count_nonzero(broken), np.argmax(broken)
            raise DatasetError(f"{what}: {count:,} of {len(x):,} images hold NaN or infinity, number {first} first")


def _span(x: npt.NDArray[Any]) -> Span:
    if x.dtype == np.uint16:
        return 0.0, 65535.0
    if len(x) == 0:
        return 0.0, 255.0
    low, high = float(x.min()), float(x.max())
    return value_span(low, high, whole=x.dtype.kind in "ui" and high > 1)  # black and white may be 0 and 1


def _scaled(x: npt.NDArray[Any], span: Span, what: str) -> Images:
    if len(x) == 0:
        return np.zeros(x.shape, np.uint8)
    low, high = float(x.min()), float(x.max())
    if low < span[0] or high > span[1]:
        raise DatasetError(
            f"{what}: values from {low:g} to {high:g}, where train_x lies within {span[0]:g} to {span[1]:g}: give both "
            "one range"
        )
    return np.concatenate([to_bytes(part, span) for part in np.array_split(x, -(-len(x) // BLOCK))])


def _colours(x: Images) -> Images:
    """Gray or three channels: of a fourth, what is transparent becomes white."""
    if x.ndim == 4 and x.shape[3] == 4:
        alpha = x[..., 3:].astype(np.uint16)
        return ((x[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return x[..., 0] if x.ndim == 4 and x.shape[3] == 1 else x


def _labels(y: Any, what: str) -> Labels:
    labels = np.asarray(y)
    if labels.ndim != 1 or labels.dtype.kind not in "uifb":
        raise DatasetError(f"{what}: of type {labels.dtype} and shape {labels.shape}; labels are (n,) class indices")
    if labels.dtype.kind == "f":
        wrong = labels[~np.isfinite(labels) | (labels != np.floor(labels))]
        if len(wrong):
            raise DatasetError(f"{what}: {len(wrong):,} labels are no class indices, {wrong[0]:g} first")
    return labels.astype(np.int64, copy=False)
