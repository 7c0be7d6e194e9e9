"""VADER's sentences (Hutto and Gilbert, ICWSM 2014), rated by people: positive or negative, from four kinds of place.

Read from the source distribution of the PyPI package vaderSentiment, as it comes: nothing is unpacked, none of its code
is run. Each sentence was rated from −4 to 4 by twenty people or more, and its mean counts: at least 0.5 is positive, at
most −0.5 negative, and the band between is left out. A fifth of each class of each source is held out for the test.
"""

from __future__ import annotations

import html
import io
import math
import tarfile
from pathlib import Path

import numpy as np

from deltamask.base.package_index import Packaged
from deltamask.datasets.places import Layout, rooted
from deltamask.datasets.spec import DatasetError, Download, Groups, ImageDataset, datasets

CLASSES = ("negative", "positive")
NEUTRAL = 0.5  # a mean rating nearer to 0 says neither
ORDER_SEED = 0
MOST = 16 << 20  # bytes that are read of a file in an archive: the largest has 2.3 MB
SOURCES = {
    "film reviews": "movieReviewSnippets_GroundTruth.txt",
    "editorials": "nytEditorialSnippets_GroundTruth.txt",
    "tweets": "tweets_GroundTruth.txt",
    "product reviews": "amazonReviewSnippets_GroundTruth.txt",
}
SDIST = Packaged(
    "vaderSentiment-3.3.2.tar.gz",
    2_466_783,
    sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    project="vaderSentiment",
)
WITHIN = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"


def read(folder: Path) -> ImageDataset:
    """Sentences as (n,) text, in a fixed random order, with the source of each training sentence as its group."""
    path = folder / SDIST.name
    inner = _member(path, path.read_bytes(), WITHIN)
    labels: dict[str, tuple[int, int]] = {}  # of each text: (class, source)
    unrated = neutral = again = 0
    for source, file in enumerate(SOURCES.values()):
        content = _member(path, inner, f"hutto_ICWSM_2014/{file}")
        for line in filter(str.strip, content.decode("utf-8", errors="replace").split("\n")):
            rating, text = _row(line)
            if not text or math.isnan(rating):
                unrated += 1
            elif abs(rating) < NEUTRAL:
                neutral += 1
            elif text in labels:
                again += 1
            else:
                labels[text] = (int(rating > 0), source)
    if not labels:
        raise DatasetError(f"{path}: holds no rated sentence; get the file again")
    texts = np.array(list(labels))
    y, of = np.array(list(labels.values()), np.int64).T
    order = np.random.default_rng(ORDER_SEED).permutation(len(y))
    texts, y, of = texts[order], y[order], of[order]
    held_out = np.zeros(len(y), np.bool_)
    for source in range(len(SOURCES)):
        for label in range(len(CLASSES)):
            held_out[np.flatnonzero((y == label) & (of == source))[4::5]] = True
    notes = [f"vader: {neutral:,} sentences rated between −{NEUTRAL} and {NEUTRAL} are left out as neutral"]
    if again:
        notes.append(f"vader: {again:,} sentences that are there twice are taken once, with their first rating")
    if unrated:
        notes.append(f"vader: {unrated:,} rows without a sentence or a rating from −4 to 4 are left out")
    return ImageDataset(
        "vader", texts[~held_out], y[~held_out], texts[held_out], y[held_out], CLASSES,
        Groups(tuple(SOURCES), of[~held_out]), tuple(notes),
    )  # fmt: skip


def _row(line: str) -> tuple[float, str]:
    """(mean rating, text) of a line: its number, rating and sentence between tabs. NaN where it has no rating."""
    parts = line.split("\t", 2)
    if len(parts) < 3:
        return math.nan, ""
    try:
        rating = float(parts[1])
    except ValueError:
        rating = math.nan
    return rating if abs(rating) <= 4 else math.nan, " ".join(html.unescape(parts[2]).split())


def _member(path: Path, archive: bytes, name: str) -> bytes:
    """A file in a packed archive. path: for messages. DatasetError where it is missing, torn, or far too long."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            file = tar.extractfile(name)
            content = file.read(MOST + 1) if file else b""
    except (tarfile.TarError, KeyError, EOFError, OSError) as error:
        raise DatasetError(f"{path}: {name} cannot be read in it ({error}); get the file again") from error
    if not 0 < len(content) <= MOST:
        raise DatasetError(f"{path}: {name} is empty, or longer than {MOST:,} bytes; get the file again")
    return content


datasets.register("vader")(
    rooted(
        "vader",
        (Layout("vader", (SDIST.name,)),),
        read,
        license="MIT (VADER); sentences © their authors, for research (cite Hutto and Gilbert 2014)",
        how_to_get="`deltamask download vader` (texts, for backbone minilm-l6)",
        size_bytes=SDIST.size,
        groups="one source a client",
        download=Download((SDIST,), into="vader"),
    )
)
