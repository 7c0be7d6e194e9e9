"""images.jsonl: which test images each run of a study gets right, so that arms can be compared image by image.

A line a run: experiment, arm, seed; images, how many; rounds, over how many of the last ones; right, in how many of
these each image was right (a byte an image, deflated, as base64): 900 bytes for 2,000 images.
"""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deltamask.base.files import write_atomic
from deltamask.runs import StoreError
from deltamask.runs.reader import Run
from deltamask.simulation.records import MAX_IMAGES, RecordError, unpacked

FILE = "images.jsonl"
Key = tuple[str, str, int]  # experiment, arm, seed
Line = dict[str, Any]


def line_of(key: Key, run: Run) -> Line | None:
    """A run's line; None where its records do not say which images were right."""
    images = int(run.task.get("test_samples", 0))
    try:
        hits = [unpacked(record["hits"], images) for record in run.records if record["hits"]]
    except RecordError as error:
        raise StoreError(f"{run.path}: {error}") from None
    if not hits:
        return None
    right = zlib.compress(np.sum(hits, axis=0, dtype=np.uint8).tobytes(), 9)
    named = dict(zip(("experiment", "arm", "seed"), key, strict=True))
    return named | {"images": images, "rounds": len(hits), "right": base64.b64encode(right).decode()}


def shares(line: Line) -> npt.NDArray[np.float64]:
    """(images,) in which share of its last rounds a run had each image right. ValueError if the line is damaged."""
    images, rounds = int(line["images"]), int(line["rounds"])
    if not 0 < images <= MAX_IMAGES or not 0 < rounds <= 255:
        raise ValueError(f"{images} images in {rounds} rounds")
    inflate = zlib.decompressobj()
    try:
        data = inflate.decompress(base64.b64decode(line["right"], validate=True), images + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    counts = np.frombuffer(data, np.uint8)
    if len(counts) != images or counts.max() > rounds:
        raise ValueError(f"{len(counts)} counts for {images} images, up to {counts.max(initial=0)} of {rounds} rounds")
    return counts / np.float64(rounds)


def read(data: Path) -> dict[Key, Line]:
    """The lines in the folder of a study's tables; none where there is no such file. StoreError if it is damaged."""
    path = data / FILE
    if not path.exists():
        return {}
    try:
        lines = [json.loads(text) for text in path.read_text().splitlines()]
        for line in lines:
            shares(line)
        return {(line["experiment"], line["arm"], line["seed"]): line for line in lines}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: cannot be read ({error}); restore it or delete it") from error


def write(lines: dict[Key, Line], data: Path) -> list[Path]:
    """Write the file, where there is something to write; returns its path."""
    if not lines:
        return []
    with write_atomic(data / FILE) as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines.values()).encode())
    return [data / FILE]
