"""What a closed-form head is made from: class statistics that add up, and the registry of the ways to get a head."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from deltamask.base.registry import Registry
from deltamask.config import RunConfig
from deltamask.config.privacy_fields import Privacy
from deltamask.privacy import plan

Features = npt.NDArray[np.float32] | npt.NDArray[np.float64]  # (samples, features): the unmasked network's output
Integers = npt.NDArray[np.int64]

MOST_MEANS = 16  # means that a client may send of one class


@dataclass(frozen=True)
class HeadSettings:
    """What all sides of a run agree on before any statistics travel.

    seed: of the run. classes, features: the head's shape. fraction_bits: features are rounded to multiples of
    2^-fraction_bits. min_samples: no mean of fewer samples leaves a client. means: how many a client sends of a class
    (`cof`). projection: q, the dimensions that `gram-rp` keeps. solver: `lda` or `ridge` (`gram`, `gram-rp`). noise: σ
    of what a private head adds to its sums, over what one sample adds; 0 without `dp`. whole_clients: over what
    replacing a client changes, and the server adds it.
    """

    seed: int
    classes: int
    features: int
    fraction_bits: int = 4
    min_samples: int = 2
    means: int = 4
    projection: int = 512
    solver: str = "lda"
    noise: float = 0.0
    whole_clients: bool = False


def agreed(config: RunConfig, classes: int, features: int) -> HeadSettings:
    """What both sides know of the statistics before they travel."""
    return HeadSettings(
        seed=config.seed,
        classes=classes,
        features=features,
        fraction_bits=config.head_fraction_bits,
        min_samples=config.head_min_samples,
        means=config.head_means,
        projection=config.head_projection,
        solver=config.head_solver,
        noise=plan.head_noise(config),
        whole_clients=plan.protects_clients(config),
    )


@dataclass(frozen=True)
class Sender:
    """The client a message is from, and the round that it belongs to.

    registered: (classes,) the samples of each class that the client has said it holds.
    """

    client: int
    registered: Integers
    round: int = 0


@dataclass(frozen=True)
class Statistics:
    """Sums over samples, as integers: they add up to the same whatever the order and whoever held which sample.

    labels, counts: (rows,) the class of each row, ascending, and the samples in it. sums: (rows, dims) their features'
    sums, in steps of the fixed point. gram: (dims, dims) Σ q qᵀ over the same samples, or None.
    """

    labels: Integers
    counts: Integers
    sums: Integers
    gram: Integers | None = None


@dataclass(frozen=True)
class Total:
    """The sum of all clients' statistics. counts: (classes,); sums: (classes, dims); rows: (classes,) means received.

    gram: (dims, dims) Σ q qᵀ over samples, where clients send it. scatter: (dims, dims) Σ s sᵀ / n over means (`cof`).
    """

    counts: Integers
    sums: Integers
    rows: Integers
    gram: Integers | None = None
    scatter: npt.NDArray[np.float64] | None = None

    def __add__(self, other: Total) -> Total:
        def both(mine: Any, its: Any) -> Any:
            return None if mine is None else mine + its

        return Total(*(both(getattr(self, field.name), getattr(other, field.name)) for field in fields(self)))


@dataclass(frozen=True)
class Linear:
    """A linear classifier: logits = weight·x + bias. weight: (classes, features); bias: (classes,); float64."""

    weight: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]

    def flat(self, temperature: float = 1.0) -> npt.NDArray[np.float32]:
        """(classes · (features + 1),): weights row by row, then biases, all times `temperature`."""
        return (temperature * np.concatenate([self.weight.ravel(), self.bias])).astype(np.float32)


@dataclass(frozen=True)
class HeadKind:
    """Where a head comes from. label, about: its name, and a line for people. reads: fields that only heads read.

    private: the values of `dp` that its statistics keep, by noise of `HeadSettings.noise`; another is refused.
    """

    label: str
    about: str
    reads: tuple[str, ...] = field(default=(), kw_only=True)
    private: tuple[Privacy, ...] = field(default=(), kw_only=True)


@dataclass(frozen=True)
class ClosedForm(HeadKind):
    """A head that follows from statistics by a formula.

    summarise(x, y, sender, settings): a client's statistics of its samples. Raises FloatingPointError where features
        are not finite or beyond the fixed point's range.
    encode(statistics, sender, settings), decode(payload, sender, settings): to bytes and back; decode raises
        DecodeError, and nothing else.
    total(parts, settings): the sum of all clients' statistics, consumed one by one.
    solve(total, settings): the head.
    """

    summarise: Callable[[Features, Integers, Sender, HeadSettings], Statistics]
    encode: Callable[[Statistics, Sender, HeadSettings], bytes]
    decode: Callable[[bytes, Sender, HeadSettings], Statistics]
    total: Callable[[Iterable[Statistics], HeadSettings], Total]
    solve: Callable[[Total, HeadSettings], Linear]


# Fields that are read wherever statistics are sent.
ALL_STATISTICS = ("head_min_samples", "head_fraction_bits", "head_temperature", "head_refit")
heads: Registry[HeadKind] = Registry("head")


def closed_form(name: str) -> ClosedForm | None:
    """The head's formula; None if it is trained instead."""
    kind = heads[name]
    return kind if isinstance(kind, ClosedForm) else None
