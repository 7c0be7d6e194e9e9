"""`boosted-update` and `huge-floats`: updates and heads that outweigh everybody else's."""

from __future__ import annotations

import numpy as np

from deltamask.attacks.base import Attack, Liar, attacks
from deltamask.attacks.forge import with_values
from deltamask.codecs.wire.dense import Vector
from deltamask.methods.base import Upload

BOOST = -10.0
HUGE = 3.4e38  # finite as float32, and no sum of a few is


def boosted(upload: Upload, liar: Liar) -> Upload:
    """The change, times BOOST."""
    return with_values(upload, liar, lambda values: BOOST * values)


def huge(upload: Upload, liar: Liar) -> Upload:
    """Every value HUGE."""

    def same(values: Vector) -> Vector:
        return np.full_like(values, HUGE)

    return with_values(upload, liar, same)


attacks.register("boosted-update")(
    Attack("Boosted update", "The change of the weights, times −10.", ("values",), boosted)
)
attacks.register("huge-floats")(
    Attack("Huge floats", "3.4e38 for every value of an update or a head.", ("values", "head"), huge)
)
