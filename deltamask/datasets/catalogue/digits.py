"""scikit-learn's handwritten digits (UCI, Alpaydin and Kaynak 1998): 1,797 images of 8 px, part of the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deltamask.datasets.spec import DatasetSpec, ImageDataset, datasets

CLASSES = tuple("0123456789")


def read() -> ImageDataset:
    """Every fifth image of each class is held out for the test."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)  # (1797, 8, 8)
    labels = bunch.target.astype(np.int64)
    held_out = np.zeros(len(labels), np.bool_)
    for digit in range(10):
        held_out[np.flatnonzero(labels == digit)[4::5]] = True
    return ImageDataset("digits", images[~held_out], labels[~held_out], images[held_out], labels[held_out], CLASSES)


def where() -> Path | None:
    """The file in the installed package."""
    import sklearn.datasets

    path = Path(sklearn.datasets.__file__).parent / "data" / "digits.csv.gz"
    return path if path.is_file() else None


datasets.register("digits")(
    DatasetSpec(
        read=read,
        where=where,
        license="BSD-3-Clause (scikit-learn); data CC BY 4.0 (UCI)",
        how_to_get="`pip install scikit-learn`",
        size_bytes=57_000,
    )
)
