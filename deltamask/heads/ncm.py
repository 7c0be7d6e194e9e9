"""`ncm`: the nearest class mean (FedNCM, arXiv 2402.04625). Clients send the sum of each class's features."""

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
from deltamask.heads.classifiers import moments, nearest_mean

KIND = "head-ncm"


def summarise(x: Features, y: Integers, sender: Sender, settings: HeadSettings) -> Statistics:
    return statistics.summarise(statistics.to_steps(x, settings.fraction_bits), y, sender, settings)


def decode(payload: bytes, sender: Sender, settings: HeadSettings) -> Statistics:
    return wire.decode(KIND, payload, sender, settings, settings.features)


def total(parts: Iterable[Statistics], settings: HeadSettings) -> Total:
    return statistics.total(parts, settings.classes, settings.features)


def solve(of: Total, settings: HeadSettings) -> Linear:
    return nearest_mean(moments(of, 2.0**-settings.fraction_bits))


wire.register(KIND, 104)
heads.register("ncm")(
    ClosedForm(
        "Class means",
        "Nearest class mean: each client sends the mean of each class it holds.",
        summarise,
        partial(wire.encode, KIND),
        decode,
        total,
        solve,
        reads=ALL_STATISTICS,
    )
)
