"""`unit-means`: each class's mean direction, of features scaled to length 1; with `dp`, the noisy one.

A sample adds a vector of length 1 to one class's sum, so that Gaussian noise on the sums protects every sample at once,
in one release (Dwork & Roth 2014, section 3.5; DP prototypes: Wahdany et al., arXiv 2406.08039). Each client adds its
own before anything leaves it. How many samples a class has is not sent then: the direction of a sum needs no count.

Where whole clients are protected, each scales all its sums together to length 1, so that none counts for more than
another, and the server adds noise to the sum of all, once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from deltamask.codecs.wire.message import DecodeError
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
from deltamask.privacy.mechanism import Noise

KIND = "head-unit-means"
UNIT_BITS = 10  # a feature of length 1 is 2¹⁰ steps long
CLIENT_BITS = 16  # all sums of a client, of length 1 together, are 2¹⁶ steps long
ALIKE = 1 << 16  # what a noisy message says of every class's count


def to_unit_steps(x: Features) -> Integers:
    """(n, features) of length 1 each, in steps; zeros stay zeros. Raises FloatingPointError."""
    if not np.isfinite(x).all():
        raise FloatingPointError("features are NaN or infinite")
    lengths = np.linalg.norm(np.asarray(x, np.float64), axis=1, keepdims=True)
    return np.rint(x / np.maximum(lengths, 1e-30) * 2**UNIT_BITS).astype(np.int64)


def longest(features: int) -> float:
    """The length in steps that no rounded feature vector exceeds: each value is off by half a step at most."""
    return float(2**UNIT_BITS + np.sqrt(features) / 2)


def longest_client(settings: HeadSettings) -> float:
    """The length in steps that no client's sums exceed together, where whole clients are protected."""
    return float(2**CLIENT_BITS + np.sqrt(settings.classes * settings.features) / 2)


def as_one(sums: Integers) -> Integers:
    """A client's (classes, features) sums, scaled to length 1 together."""
    return np.rint(sums * (2**CLIENT_BITS / max(1.0, float(np.linalg.norm(sums.astype(np.float64)))))).astype(np.int64)


def _as_sent(sender: Sender, settings: HeadSettings) -> tuple[Sender, HeadSettings]:
    """Who and what the message is written for: with noise it says the same counts of every class."""
    if not settings.noise:
        return sender, settings
    return replace(sender, registered=np.full(settings.classes, ALIKE)), replace(settings, min_samples=1)


def summarise(x: Features, y: Integers, sender: Sender, settings: HeadSettings) -> Statistics:
    steps = to_unit_steps(x)
    if not settings.noise:
        return statistics.summarise(steps, y, sender, settings)
    sums = np.zeros((settings.classes, settings.features), np.int64)
    np.add.at(sums, y, steps)
    every = np.arange(settings.classes), np.full(settings.classes, ALIKE)
    if settings.whole_clients:
        return Statistics(*every, as_one(sums))
    deviation = settings.noise * longest(settings.features)
    source = Noise(deviation, settings.seed, "dp head release", round=sender.round, client=sender.client)
    return Statistics(*every, source.added_to(sums))


def encode(found: Statistics, sender: Sender, settings: HeadSettings) -> bytes:
    return wire.encode(KIND, found, *_as_sent(sender, settings))


def decode(payload: bytes, sender: Sender, settings: HeadSettings) -> Statistics:
    found = wire.decode(KIND, payload, *_as_sent(sender, settings), settings.features)
    if settings.whole_clients and np.linalg.norm(found.sums.astype(np.float64)) > longest_client(settings):
        raise DecodeError("sums that are longer together than a client's may be")
    return found


def total(parts: Iterable[Statistics], settings: HeadSettings) -> Total:
    of = statistics.total(parts, settings.classes, settings.features)
    if not settings.whole_clients:
        return of
    deviation = settings.noise * 2 * longest_client(settings)  # one client's sums may turn round
    return replace(of, sums=Noise(deviation, settings.seed, "dp head sum", round=0).added_to(of.sums))


def solve(of: Total, settings: HeadSettings) -> Linear:
    """w = the sum's direction, no bias: the class whose mean direction is nearest, whatever the features' length."""
    lengths = np.linalg.norm(of.sums.astype(np.float64), axis=1, keepdims=True)
    return Linear(of.sums / np.maximum(lengths, 1.0), np.zeros(settings.classes))


wire.register(KIND, 111)
heads.register("unit-means")(
    ClosedForm(
        "Mean directions",
        "Each class's mean direction; with dp noise is added once, and it is private.",
        summarise,
        encode,
        decode,
        total,
        solve,
        reads=ALL_STATISTICS,
        private=("samples", "clients"),
    )
)
