"""`gram-rp`: LDA or ridge regression on a public random projection of the features to q dimensions.

The projection has entries ±1, so it is exact on integers, and is derived from the run's seed: it is never sent. The
head is found in q dimensions and mapped back: w = scale · Pᵀ w_q.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from functools import partial

import numpy as np
import numpy.typing as npt

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
from deltamask.heads.classifiers import moments
from deltamask.heads.gram import regularised
from deltamask.masking import noise

KIND = "head-gram-rp"


@functools.lru_cache(maxsize=2)
def projection(seed: int, dims: int, features: int) -> npt.NDArray[np.float64]:
    """(dims, features) of ±1, public: everyone derives it from the seed."""
    signs = noise.generator(seed, "head projection").integers(0, 2, (dims, features), np.int8)
    return 2.0 * signs - 1


def dims_of(settings: HeadSettings) -> int:
    """q, or the features where there are no more than that."""
    return min(settings.projection, settings.features)


def shift_of(features: int) -> int:
    """Bits that a projected value loses, so that it is about as large as a feature: a sum of ±n terms grows by √n."""
    return round(math.log2(features) / 2)


def project(x: Features, settings: HeadSettings) -> Integers:
    """(n, q) integers: P·(x in steps), exact, divided by 2^shift and rounded."""
    steps = statistics.to_steps(x, settings.fraction_bits).astype(np.float64)
    product = steps @ projection(settings.seed, dims_of(settings), settings.features).T
    return statistics.to_steps(product, -shift_of(settings.features))


def summarise(x: Features, y: Integers, sender: Sender, settings: HeadSettings) -> Statistics:
    return statistics.summarise(project(x, settings), y, sender, settings, gram=True)


def decode(payload: bytes, sender: Sender, settings: HeadSettings) -> Statistics:
    return wire.decode(KIND, payload, sender, settings, dims_of(settings), gram=True)


def total(parts: Iterable[Statistics], settings: HeadSettings) -> Total:
    return statistics.total(parts, settings.classes, dims_of(settings), gram=True)


def solve(of: Total, settings: HeadSettings) -> Linear:
    step = 2.0**-settings.fraction_bits
    small = regularised(moments(of, step), settings.solver)
    back = projection(settings.seed, dims_of(settings), settings.features) * 2.0 ** -shift_of(settings.features)
    return Linear(small.weight @ back, small.bias)


wire.register(KIND, 106)
heads.register("gram-rp")(
    ClosedForm(
        "Projected Gram matrix",
        "LDA or ridge regression on a random projection of the features: fewer bytes than `gram`, nearly as good.",
        summarise,
        partial(wire.encode, KIND),
        decode,
        total,
        solve,
        reads=(*ALL_STATISTICS, "head_solver", "head_projection"),
    )
)
