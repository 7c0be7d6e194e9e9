"""`cof`: LDA whose covariance is estimated from class means alone (FedCOF, arXiv 2412.14326).

A mean of n samples scatters around its class's mean with covariance Σ_w / n, so the scatter of many clients' means,
each weighted by its samples, is an estimate of Σ_w. More means a class (a client splits its samples at random) make
it a better one. It has fewer dimensions than there are means, and is shrunk towards a multiple of the identity.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np

from deltamask.heads import statistics, wire
from deltamask.heads.base import (
    ALL_STATISTICS,
    ClosedForm,
    Features,
    HeadSettings,
    Integers,
    Linear,
    Sender,
    Statistics,
    Total,
    heads,
)
from deltamask.heads.classifiers import discriminant, moments, nearest_mean

KIND = "head-cof"
SHRINKAGE = 0.5  # of the mean eigenvalue: flat between 0.3 and 1 on held-out training images, for 2 to 8 means a class


def summarise(x: Features, y: Integers, sender: Sender, settings: HeadSettings) -> Statistics:
    steps = statistics.to_steps(x, settings.fraction_bits)
    return statistics.summarise(steps, y, sender, settings, means=settings.means)


def decode(payload: bytes, sender: Sender, settings: HeadSettings) -> Statistics:
    return wire.decode(KIND, payload, sender, settings, settings.features, means=settings.means)


def total(parts: Iterable[Statistics], settings: HeadSettings) -> Total:
    return statistics.total(parts, settings.classes, settings.features, scatter=True)


def solve(of: Total, settings: HeadSettings) -> Linear:
    points = moments(of, 2.0**-settings.fraction_bits)
    freedom = int((of.rows - 1).clip(0).sum())
    assert points.products is not None
    if not freedom:  # one mean a class: nothing scatters
        return nearest_mean(points)
    between = (points.counts[points.held, None] * points.means).T @ points.means
    covariance = (points.products - between) / freedom
    penalty = SHRINKAGE * float(np.trace(covariance)) / len(covariance)
    return discriminant(points, covariance, penalty) if penalty > 0 else nearest_mean(points)


wire.register(KIND, 105)
heads.register("cof")(
    ClosedForm(
        "Class means, FedCOF",
        "LDA with a covariance estimated from class means (FedCOF): the bytes of a few means a class.",
        summarise,
        partial(wire.encode, KIND),
        decode,
        total,
        solve,
        reads=(*ALL_STATISTICS, "head_means"),
    )
)
