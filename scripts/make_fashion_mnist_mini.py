"""Make data/fashion-mnist-mini: the first 1,000 training and 200 test images of each class, in the full set's order.

    python scripts/make_fashion_mnist_mini.py

Stratified, and its first 6,000 training images are those of the full set, so figures can be compared with it.
"""

from __future__ import annotations

import hashlib

import numpy as np

from deltamask.base.paths import data_dir
from deltamask.datasets import load, write_idx

PER_CLASS = {"train": 1000, "t10k": 200}


def first_of_each_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Sorted indices of the first `count` entries of each class."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in np.unique(labels)]))


def main() -> None:
    full = load("fashion-mnist")
    folder = data_dir() / "fashion-mnist-mini"
    folder.mkdir(parents=True, exist_ok=True)
    for split, images, labels in (("train", full.train_x, full.train_y), ("t10k", full.test_x, full.test_y)):
        assert isinstance(images, np.ndarray)  # this dataset fits into memory
        chosen = first_of_each_class(labels, PER_CLASS[split])
        write_idx(folder / f"{split}-images-idx3-ubyte.gz", images[chosen])
        write_idx(folder / f"{split}-labels-idx1-ubyte.gz", labels[chosen].astype(np.uint8))
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in sorted(folder.glob("*.gz"))]
    (folder / "SHA256SUMS").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
