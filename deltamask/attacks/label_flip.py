"""`label-flip`: honest training on wrong labels. Its payload is one that no check can refuse."""

from __future__ import annotations

from deltamask.attacks.base import Attack, Counts, attacks


def other(y: Counts, classes: int) -> Counts:
    """Class c becomes class C − 1 − c."""
    return classes - 1 - y


attacks.register("label-flip")(
    Attack(
        "Flipped labels",
        "Trains on labels in reverse order, and sends what comes of it.",
        claims=lambda counts: counts[::-1].copy(),
        labels=other,
    )
)
