"""Trunk features, computed once and cached on disk.

The trunk is frozen, so its output for an image never changes. It is stored in chunks of 500 images, each written
atomically: a killed run loses at most one chunk, and a run on fewer images computes no more than it needs.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from deltamask.atomic import write_atomic
from deltamask.datasets import Images
from deltamask.tail import Backbone

CHUNK = 500
BATCH = 50

Progress = Callable[[str, int, int], None]  # (what, done, total)


def cache_dir() -> Path:
    """$DELTAMASK_CACHE, else the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("DELTAMASK_CACHE") or Path(base) / "deltamask")


@dataclass(frozen=True)
class FeatureKey:
    """All that a cached feature depends on."""

    backbone: str
    weights_id: str
    masked_blocks: int
    dataset: str
    dataset_fingerprint: str
    image_size: int

    @property
    def folder(self) -> Path:
        digest = hashlib.sha256(repr(self).encode()).hexdigest()[:16]
        return (
            cache_dir()
            / "features"
            / f"{self.backbone}-{self.dataset}-{self.image_size}px-{digest}".replace(":", "_").replace("/", "_")
        )


def preprocess(images: Images, backbone: Backbone, size: int) -> Tensor:
    """(n, h, w[, 3]) uint8 to (n, 3, size, size) float32, resized and normalised as the backbone expects."""
    from torchvision.transforms import InterpolationMode  # a second to import, and no need of it when all is cached
    from torchvision.transforms import functional as transforms

    pixels = torch.from_numpy(images.copy()).float() / 255
    pixels = pixels[:, None].expand(-1, 3, -1, -1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
    mode = InterpolationMode(backbone.interpolation)
    resized = transforms.resize(pixels, [size, size], interpolation=mode, antialias=True)
    normalised: Tensor = transforms.normalize(resized, list(backbone.mean), list(backbone.std))
    return normalised.contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def _chunk(images: Images, backbone: Backbone, size: int, tick: Callable[[int], None]) -> np.ndarray:
    parts = []
    for start in range(0, len(images), BATCH):
        pixels = preprocess(images[start : start + BATCH], backbone, size)
        parts.append(backbone.trunk(padded(pixels, BATCH)).contiguous().numpy()[: len(pixels)])
        tick(len(parts[-1]))
    return np.concatenate(parts)


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


def trunk_features(
    images: Images, count: int, split: str, key: FeatureKey, backbone: Backbone, progress: Progress
) -> Tensor:
    """Features of the first `count` images, (count, …) float32, from the cache where it has them."""
    key.folder.mkdir(parents=True, exist_ok=True)
    total = min(count, len(images))
    done = 0
    parts: list[np.ndarray] = []

    def tick(n: int) -> None:
        nonlocal done
        done += n
        progress(f"trunk features, {split}", min(done, total), total)

    for start in range(0, total, CHUNK):
        path = key.folder / f"{split}-{start // CHUNK:05d}.npy"
        part = _read(path)
        if part is None:
            part = _chunk(images[start : start + CHUNK], backbone, key.image_size, tick)
            with write_atomic(path) as file:
                np.save(file, part, allow_pickle=False)
        else:
            tick(len(part))
        parts.append(part)
    features = torch.from_numpy(np.concatenate(parts)[:total])
    return features.contiguous(memory_format=torch.channels_last) if features.ndim == 4 else features


def _read(path: Path) -> np.ndarray | None:
    """A chunk, or None if it is missing or torn (it is then made again)."""
    try:
        chunk: np.ndarray = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return chunk
