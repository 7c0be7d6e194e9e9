"""The feature cache on disk: what is in it, how large it may grow, and how two processes share it. Needs no torch.

Features of one split of one dataset lie in one file, a row an image, which runs map into memory. Chunks of rows are
only ever appended; a list beside the file says which are whole. A run that was killed, or a disk that was full, leaves
rows that the list does not know, and the next chunk takes their place.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import filelock
import numpy as np
import numpy.typing as npt

from deltamask.base.files import naming, write_atomic
from deltamask.base.paths import cache_dir
from deltamask.base.units import byte_size

DEFAULT_LIMIT = "20 GB"
UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}


class CacheError(RuntimeError):
    """The features do not fit into the cache, or not into half precision; the message says what to do."""


def features_dir() -> Path:
    """Where all features lie."""
    return cache_dir() / "features"


def cache_limit() -> int:
    """Bytes that features may take: $DELTAMASK_CACHE_LIMIT, such as `50 GB` or `500MB`. ValueError if it is no size."""
    text = os.environ.get("DELTAMASK_CACHE_LIMIT") or DEFAULT_LIMIT
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]b|)\s*", text.lower())
    if match is None:
        raise ValueError(f"DELTAMASK_CACHE_LIMIT = {text!r} is no size; write it like 500 MB or 20 GB")
    return int(float(match[1]) * UNITS[match[2]])


@dataclass(frozen=True)
class FeatureKey:
    """All that a cached feature depends on."""

    backbone: str
    weights_id: str
    masked_blocks: int
    dataset: str
    dataset_fingerprint: str
    image_size: int
    preprocessing: str
    precision: str  # float32 or float16

    @property
    def folder(self) -> Path:
        """A folder of its own: its name can be read, and ends in a hash of every field."""
        digest = hashlib.sha256(repr(self).encode()).hexdigest()[:16]
        short = (re.sub(r"[^\w.-]+", "_", name)[-40:] for name in (self.backbone, self.dataset))
        return features_dir() / f"{'-'.join(short)}-{self.image_size}px-{digest}"


class Chunk(NamedTuple):
    """Consecutive rows of the file, and which images of the chunk, counted from its first, could not be read."""

    rows: int
    broken: list[int]

    @property
    def images(self) -> int:
        """Those it was computed from."""
        return self.rows + len(self.broken)


def images_of(chunks: list[Chunk]) -> int:
    """How many of a split's images, from the first, the chunks are of."""
    return sum(chunk.images for chunk in chunks)


class FeatureFile:
    """The features of one split. row: the shape of one, as it lies on disk."""

    def __init__(self, key: FeatureKey, split: str, row: tuple[int, ...]) -> None:
        self.key = key
        self.row = row
        self.dtype = np.dtype(key.precision)
        self.data = key.folder / f"{split}.bin"
        self.index = key.folder / f"{split}.json"
        self.row_bytes = math.prod(row) * self.dtype.itemsize

    def lock(self) -> filelock.BaseFileLock:
        """Held while files of this folder are changed; never while features are computed."""
        self.key.folder.mkdir(parents=True, exist_ok=True)
        return filelock.FileLock(self.key.folder / "lock")

    def chunks(self) -> list[Chunk]:
        """The chunks that are whole, from the first. A damaged list or a shorter file means fewer of them."""
        try:
            listed = [
                Chunk(int(rows), [int(one) for one in broken]) for rows, broken in json.loads(self.index.read_text())
            ]
            size = self.data.stat().st_size
        except (OSError, ValueError, TypeError):
            return []
        ends = np.cumsum([chunk.rows for chunk in listed], dtype=np.int64) * self.row_bytes
        return listed[: int(np.searchsorted(ends, size, side="right"))]

    def append(self, at: int, rows: npt.NDArray[Any], broken: list[int]) -> None:
        """Add the `at`-th chunk, unless another process has done so meanwhile."""
        with self.lock():
            self.key.folder.mkdir(parents=True, exist_ok=True)  # it may have been cleared while we waited
            before = self.chunks()
            if len(before) != at:
                return
            self.data.touch()
            with naming(self.data), self.data.open("r+b") as file:
                file.truncate(sum(chunk.rows for chunk in before) * self.row_bytes)
                file.seek(0, os.SEEK_END)
                file.write(np.ascontiguousarray(rows, self.dtype).data)
                file.flush()
                os.fsync(file.fileno())
            with write_atomic(self.index) as index:
                index.write(json.dumps([*before, Chunk(len(rows), broken)]).encode())

    def forget(self) -> None:
        """Remove what there is. A run that has it mapped keeps it."""
        with self.lock():
            self.index.unlink(missing_ok=True)
            self.data.unlink(missing_ok=True)

    def map(self, rows: int) -> npt.NDArray[Any]:
        """The first `rows` rows, mapped for reading: a page is read when it is touched, and takes nobody's memory."""
        shape = (rows, *self.row)
        return np.memmap(self.data, self.dtype, "r", shape=shape) if rows else np.empty(shape, self.dtype)


def write_meta(key: FeatureKey, row: tuple[int, ...]) -> None:
    """Say what the folder holds, for `read_row`, `deltamask cache list` and the curious."""
    key.folder.mkdir(parents=True, exist_ok=True)
    with write_atomic(key.folder / "meta.json") as file:
        file.write(json.dumps({**dataclasses.asdict(key), "row": row}, indent=1).encode())


def read_row(key: FeatureKey) -> tuple[int, ...] | None:
    """The shape of a row, if the folder says so. Marks the folder as used now."""
    meta = key.folder / "meta.json"
    try:
        row = tuple(int(one) for one in json.loads(meta.read_text())["row"])
        os.utime(meta)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return row


def check_room(need: int, hint: str) -> None:
    """CacheError if `need` more bytes exceed the cache's limit or the disk. hint: how to need less."""
    folder = features_dir()
    limit, used = cache_limit(), sum(entry["bytes"] for entry in entries())
    if used + need > limit:
        raise CacheError(
            f"the features take {byte_size(need)}, and {byte_size(used)} of the cache's {byte_size(limit)} are in use: "
            f"{hint}, "
            "clear what you no longer need (`deltamask cache list`, `deltamask cache clear`), or raise "
            "DELTAMASK_CACHE_LIMIT"
        )
    parent = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(parent).free
    if need > free:
        raise CacheError(
            f"the features take {byte_size(need)}, and {byte_size(free)} are free on the disk of {folder}: {hint}, "
            "or set "
            "DELTAMASK_CACHE to a folder on a larger disk"
        )


def entries(older_than: float = 0.0) -> list[dict[str, Any]]:
    """What is in the cache and has not been used for `older_than` days, the latest used first.

    Of each: its folder's name, what it is of (None where the folder does not say), samples, bytes, days since its use.
    """
    found: list[dict[str, Any]] = []
    for folder in sorted(features_dir().iterdir()) if features_dir().is_dir() else []:
        try:
            sizes = [path.stat().st_size for path in folder.iterdir()]
            meta = folder / "meta.json"
            used = (meta if meta.exists() else folder).stat().st_mtime
            about = json.loads(meta.read_text()) if meta.exists() else {}
            samples = {split: _rows(folder / f"{split}.json") for split in ("train", "test")}
        except (OSError, ValueError):
            continue  # it is being cleared by another process
        fields = ("backbone", "masked_blocks", "dataset", "image_size", "precision")
        entry = {"name": folder.name, **{field: about.get(field) for field in fields}, "samples": samples}
        found.append({**entry, "bytes": sum(sizes), "days_unused": max(0.0, (time.time() - used) / 86_400)})
    return sorted((one for one in found if one["days_unused"] >= older_than), key=lambda one: one["days_unused"])


def _rows(index: Path) -> int:
    return sum(rows for rows, _ in json.loads(index.read_text())) if index.exists() else 0


def clear(older_than: float = 0.0) -> list[dict[str, Any]]:
    """Remove what has not been used for `older_than` days. Returns what was removed.

    A run that has its features mapped keeps them; one that is computing some finds its list gone and begins anew.
    """
    gone = entries(older_than)
    for entry in gone:
        folder = features_dir() / entry["name"]
        with filelock.FileLock(folder / "lock"):
            for path in sorted(folder.iterdir(), key=lambda path: path.suffix != ".json"):  # lists before their data
                if path.name != "lock":
                    path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # another process has begun to fill it anew
            (folder / "lock").unlink(missing_ok=True)
            folder.rmdir()
    return gone
