"""`zero-mask` and `half-flips`: masks that take the network apart."""

from __future__ import annotations

from functools import partial

import numpy as np

from deltamask.attacks.base import Attack, Liar, attacks
from deltamask.attacks.forge import with_flips
from deltamask.masking.masks import Mask, Positions


def ones_of(mask: Mask, liar: Liar) -> Positions:
    """Every position that holds a one."""
    return np.flatnonzero(mask)


def half(mask: Mask, liar: Liar) -> Positions:
    """Each position with probability ½."""
    return np.flatnonzero(liar.rng("half").random(len(mask)) < 0.5)


attacks.register("zero-mask")(
    Attack(
        "Zero mask",
        "Flips that make the liar's mask zero: every weight is switched off.",
        ("flips", "masks"),
        partial(with_flips, choose=ones_of),
    )
)
attacks.register("half-flips")(
    Attack(
        "Half of all flips",
        "Half of all positions flipped, at random.",
        ("flips", "masks"),
        partial(with_flips, choose=half),
    )
)
