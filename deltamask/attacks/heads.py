"""`head-flip`, `lying-counts`: a head of round 0 that points the wrong way; the second lies about its weight, too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from deltamask.attacks.base import Attack, Counts, Liar, attacks, kind_of
from deltamask.attacks.forge import with_statistics, with_values
from deltamask.heads import Sender, Statistics, agreed
from deltamask.heads.statistics import expected_rows
from deltamask.methods.base import Upload

BOOST = -10.0
TIMES = 1000  # the samples that a liar claims for each that it has


def reversed_head(upload: Upload, liar: Liar) -> Upload:
    """In round 0, BOOST times the head, or the statistics of features with the other sign; afterwards the truth."""
    if liar.round:
        return upload
    if kind_of(liar) == "head":
        return with_values(upload, liar, lambda values: BOOST * values)
    means = liar.config.head_means if liar.config.head_init == "cof" else 1
    settings = agreed(liar.config, len(liar.task.classes), liar.task.num_features)
    labels, counts = expected_rows(Sender(liar.client, liar.registered), settings, means)

    def negated(held: Statistics) -> Statistics:
        """As many samples as registered, of the same means with the other sign."""
        sums = np.zeros((len(labels), held.sums.shape[1]), np.int64)
        for row, label in enumerate(labels):
            own = held.labels == label
            if own.any():
                sums[row] = -held.sums[own].sum(0) * counts[row] // held.counts[own].sum()
        grown = int(counts.sum()) / max(1, int(held.counts.sum()))
        gram = None if held.gram is None else np.ceil(held.gram * grown).astype(np.int64)
        return replace(held, labels=labels, counts=counts, sums=sums, gram=gram)

    return with_statistics(upload, liar, negated)


def more(counts: Counts) -> Counts:
    return counts * TIMES


attacks.register("head-flip")(
    Attack(
        "Reversed head",
        "A head of −10 times the honest one in round 0, or its statistics negated.",
        ("head", "statistics"),
        reversed_head,
    )
)
attacks.register("lying-counts")(
    Attack(
        "Lying counts",
        "The reversed head with a claim of 1,000 times the samples, as far as the run has so many.",
        ("head", "statistics"),
        reversed_head,
        more,
    )
)
