"""`gram`: ridge regression (Fed3R, arXiv 2406.01116) or LDA, exactly as on the pooled data.

Clients send class sums and the Gram matrix of their features. Both add up, so the head is the same for every split.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

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
from deltamask.heads.classifiers import Moments, cross_validated, discriminant, moments, nearest_mean, ridge, within

KIND = "head-gram"


def summarise(x: Features, y: Integers, sender: Sender, settings: HeadSettings) -> Statistics:
    return statistics.summarise(statistics.to_steps(x, settings.fraction_bits), y, sender, settings, gram=True)


def decode(payload: bytes, sender: Sender, settings: HeadSettings) -> Statistics:
    return wire.decode(KIND, payload, sender, settings, settings.features, gram=True)


def total(parts: Iterable[Statistics], settings: HeadSettings) -> Total:
    return statistics.total(parts, settings.classes, settings.features, gram=True)


def solve(of: Total, settings: HeadSettings) -> Linear:
    return regularised(moments(of, 2.0**-settings.fraction_bits), settings.solver)


def regularised(of: Moments, solver: str) -> Linear:
    """The solver's head under the penalty that generalised cross-validation chooses.

    It is positive, so a singular covariance (fewer samples than features, a feature that is always zero) needs no
    exception.
    """
    if not of.held.any():
        return nearest_mean(of)  # of nothing: zeros
    penalty = cross_validated(of)
    return ridge(of, penalty) if solver == "ridge" else discriminant(of, within(of), penalty / of.samples)


wire.register(KIND, 107)
heads.register("gram")(
    ClosedForm(
        "Gram matrix",
        "Exact LDA or ridge regression: each client sends class means and the Gram matrix of its features.",
        summarise,
        partial(wire.encode, KIND),
        decode,
        total,
        solve,
        reads=(*ALL_STATISTICS, "head_solver"),
    )
)
