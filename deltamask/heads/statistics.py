"""From features to integers that add up: class sums and Gram matrices in fixed point, exact in every order."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from deltamask.heads.base import Features, HeadSettings, Integers, Sender, Statistics, Total
from deltamask.masking import noise

LIMIT = (1 << 15) - 1  # of a feature in steps: with it, BLOCK products of two stay exact in float64
BLOCK = 1 << 20  # samples; BLOCK · LIMIT² < 2⁵³


def to_steps(x: Features, fraction_bits: int) -> Integers:
    """Features as integer multiples of 2^-fraction_bits, rounded half to even.

    Rounding each sample before the sum is what makes the sum independent of how samples are split among clients.
    Raises FloatingPointError if a value is NaN, infinite or beyond ±LIMIT steps, or if steps are so coarse that more
    than half of the features' energy is lost.
    """
    if not np.isfinite(x).all():
        raise FloatingPointError("features are NaN or infinite")
    steps = np.rint(np.asarray(x, np.float64) * 2.0**fraction_bits)
    largest = np.abs(steps).max(initial=0)
    if largest > LIMIT:
        raise FloatingPointError(
            f"a feature of magnitude {largest / 2**fraction_bits:g} has no place in {fraction_bits} bits after the "
            f"point: at most {LIMIT / 2**fraction_bits:g}"
        )
    lost = float(((x - steps * 2.0**-fraction_bits) ** 2).sum())
    if lost > 0.5 * float((np.asarray(x, np.float64) ** 2).sum()):
        raise FloatingPointError(f"features are too small for {fraction_bits} bits after the point: use more")
    return steps.astype(np.int64)


def row_sizes(count: int, settings: HeadSettings, means: int) -> list[int]:
    """How many samples are in each of the means that a client with `count` samples of a class sends.

    At most `means`, as equal as possible, none of fewer than min_samples; no mean at all if there are not enough.
    """
    rows = min(means, count // settings.min_samples)
    return [count // rows + (row < count % rows) for row in range(rows)] if rows else []


def expected_rows(sender: Sender, settings: HeadSettings, means: int) -> tuple[Integers, Integers]:
    """(labels, counts) of the rows that a client with these registered samples sends."""
    sizes = [row_sizes(int(count), settings, means) for count in sender.registered]
    labels = np.repeat(np.arange(len(sizes)), [len(of_class) for of_class in sizes])
    return labels.astype(np.int64), np.array([size for of_class in sizes for size in of_class], np.int64)


def summarise(
    steps: Integers, y: Integers, sender: Sender, settings: HeadSettings, *, means: int = 1, gram: bool = False
) -> Statistics:
    """A client's rows, and the Gram matrix of the samples in them. steps: (n, dims); y: (n,) their classes.

    ValueError if these are not the samples that the client has registered.
    """
    if not np.array_equal(np.bincount(y, minlength=settings.classes), sender.registered):
        raise ValueError(f"client {sender.client} has registered {sender.registered.tolist()} samples of the classes")
    labels, counts = expected_rows(sender, settings, means)
    rng = noise.generator(settings.seed, "head means", client=sender.client)
    members = {label: rng.permutation(np.flatnonzero(y == label)) for label in sorted(set(labels.tolist()))}
    sums = np.zeros((len(labels), steps.shape[1]), np.int64)
    used = np.zeros(len(y), bool)
    for row, (label, count) in enumerate(zip(labels.tolist(), counts.tolist(), strict=True)):
        part, members[label] = members[label][:count], members[label][count:]
        sums[row] = steps[part].sum(0)
        used[part] = True
    return Statistics(labels, counts, sums, gram_matrix(steps[used]) if gram else None)


def gram_matrix(steps: Integers) -> Integers:
    """(dims, dims) Σ q qᵀ, exact: float64 holds every partial sum of a block, so the fast product makes no error."""
    total = np.zeros((steps.shape[1], steps.shape[1]), np.int64)
    for start in range(0, len(steps), BLOCK):
        block = steps[start : start + BLOCK].astype(np.float64)
        total += (block.T @ block).astype(np.int64)
    return total


def total(parts: Iterable[Statistics], classes: int, dims: int, *, gram: bool = False, scatter: bool = False) -> Total:
    """The sum of all clients' statistics. gram: of their Gram matrices. scatter: Σ s sᵀ / n over their rows.

    The scatter alone is not a sum of integers: add in the clients' order.
    """
    counts, rows = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
    sums = np.zeros((classes, dims), np.int64)
    products = np.zeros((dims, dims), np.int64) if gram else None
    spread = np.zeros((dims, dims), np.float64) if scatter else None
    for part in parts:
        np.add.at(counts, part.labels, part.counts)
        np.add.at(rows, part.labels, 1)
        np.add.at(sums, part.labels, part.sums)
        if products is not None and part.gram is not None:
            products += part.gram
        if spread is not None:
            scaled = part.sums / np.sqrt(part.counts)[:, None]
            spread += scaled.T @ scaled
    return Total(counts, sums, rows, products, spread)
