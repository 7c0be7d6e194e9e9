"""What must hold for a dataset that is here: labels that fit, a fixed order, and what a user should know before."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from deltamask.codecs.conformance import Broken
from deltamask.datasets import DatasetSpec

LOOKED_AT = 64  # samples that are decoded


def it_says_what_it_is(spec: DatasetSpec) -> None:
    """A licence, how to get it, and its size."""
    if not spec.license.strip() or not spec.how_to_get.strip() or spec.size_bytes < 0:
        raise Broken("license and how_to_get are texts for people, size_bytes is not negative")


def labels_fit_samples_and_classes(spec: DatasetSpec) -> None:
    """As many labels as samples, each the number of a class, and every class to be learnt."""
    if spec.where() is None:
        raise Broken(f"it is not here: {spec.how_to_get}")
    data = spec.read()
    for part, x, y in (("training", data.train_x, data.train_y), ("test", data.test_x, data.test_y)):
        if len(x) != len(y) or len(y) == 0:
            raise Broken(f"{len(x)} {part} samples and {len(y)} labels")
        if y.min() < 0 or y.max() >= len(data.classes):
            raise Broken(f"{part} labels from {y.min()} to {y.max()} for {len(data.classes)} classes")
    if missing := set(range(len(data.classes))) - set(data.train_y.tolist()):
        raise Broken(f"no training sample of class {min(missing)}, {data.classes[min(missing)]!r}")
    if spec.labels is not None:
        labels, classes = spec.labels()
        if not np.array_equal(labels, data.train_y) or classes != data.classes:
            raise Broken("`labels` and `read` do not say the same")


def samples_can_be_read_and_the_order_is_fixed(spec: DatasetSpec) -> None:
    """Images are bytes of one to three dimensions, texts are strings; a second reading is the first one."""
    first, second = spec.read(), spec.read()
    if first.fingerprint != second.fingerprint or not np.array_equal(first.train_y, second.train_y):
        raise Broken("read twice, it is not the same")
    for at in range(min(LOOKED_AT, len(first.train_y))):
        stored = first.train_x
        sample = stored[at] if isinstance(stored, np.ndarray) else stored.decode(at)
        sample = np.asarray(sample)
        if sample.dtype != np.uint8 and sample.dtype.kind != "U":
            raise Broken(f"training sample {at} is {sample.dtype}: images are uint8, texts are strings")


LAWS: dict[str, Callable[[DatasetSpec], None]] = {
    law.__name__.replace("_", " "): law
    for law in (it_says_what_it_is, labels_fit_samples_and_classes, samples_can_be_read_and_the_order_is_fixed)
}
