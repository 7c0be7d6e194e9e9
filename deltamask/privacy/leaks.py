"""What a client's messages give away to whoever reads them: its labels, which messages are its, which images it holds.

The attacker is an honest-but-curious server. It knows θ_g, the public noise u, the head, the backbone and the config,
decodes each payload, and has some labelled images of its own of the same kind, which no client holds. Every function
here takes decoded payloads and plain arrays; nothing takes what only a client knows, save for the truth that a guess
is compared with.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import nnls
from scipy.stats import rankdata

from deltamask.masking.masks import Mask, Positions, Theta, sample, to_float
from deltamask.masking.noise import Words

Update = npt.NDArray[np.float32]  # (d,) what a payload says of where its client's training went
Shares = npt.NDArray[np.float64]  # (classes,) of a client's samples, sums to 1
FALSE_POSITIVES = 0.01  # at which the rate of true positives is told


def update_of_flips(theta: Theta, u: Words, flips: Positions) -> Update:
    """m̂ − m_g in {−1, 0, 1}, which is θ_k − θ_g in the mean over u. theta: θ_g (d,); u: (d,); flips: as decoded."""
    update = np.zeros(len(theta), np.float32)
    update[flips] = np.where(sample(theta[flips], u[flips]), -1, 1)
    return update


def update_of_mask(theta: Theta, mask: Mask) -> Update:
    """m − θ_g, which is θ_k − θ_g in the mean over the client's own draw."""
    return mask.astype(np.float32) - to_float(theta)


def label_shares(update: Update, references: npt.NDArray[np.float32]) -> Shares:
    """The shares of labels as a sum of which one-class updates come nearest to an update: non-negative least squares.

    references: (classes, d) where the same training goes on images of one class alone, in the attacker's simulation.
    Equal shares where the update is like none of them.
    """
    gram = (references @ references.T).astype(np.float64)
    values, vectors = np.linalg.eigh(gram)
    kept = values > values.max(initial=0.0) * 1e-10
    root = vectors[:, kept] * np.sqrt(values[kept])  # (classes, rank): root @ root.T = gram
    toward = (vectors[:, kept].T @ (references @ update).astype(np.float64)) / np.sqrt(values[kept])
    found, _ = nnls(root.T, toward)
    total = found.sum()
    return found / total if total > 0 else np.full(len(found), 1 / len(found))


def total_variation(guess: Shares, truth: Shares) -> float:
    """Half the sum of the differences of two shares: 0 for equal ones, 1 for shares without a class in common."""
    return float(np.abs(guess - truth).sum() / 2)


def auc(positive: npt.NDArray[np.floating], negative: npt.NDArray[np.floating]) -> float:
    """The chance that a score of `positive` is above one of `negative`; a tie counts half. NaN if one is empty."""
    n, m = len(positive), len(negative)
    if not n or not m:
        return float("nan")
    ranks = rankdata(np.concatenate([positive, negative]))
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def true_positives(
    positive: npt.NDArray[np.floating], negative: npt.NDArray[np.floating], rate: float = FALSE_POSITIVES
) -> float:
    """The share of `positive` above the threshold that at most the share `rate` of `negative` exceeds."""
    allowed = int(rate * len(negative))
    threshold = np.sort(negative)[len(negative) - 1 - allowed]
    return float((positive > threshold).mean())


class Linked(NamedTuple):
    """auc: a pair of messages of one client is more alike than one of two clients. found: the share of clients whose
    later message is the most alike to the earlier one."""

    auc: float
    found: float


def linkability(earlier: npt.NDArray[np.float32], later: npt.NDArray[np.float32]) -> Linked:
    """How well messages of two rounds are matched by the cosine of their updates, less each round's mean.

    earlier, later: (clients, d), row k of client k in both: that is the truth, and used for nothing else.
    """
    first, second = (_directions(updates) for updates in (earlier, later))
    alike = first @ second.T
    own = np.eye(len(alike), dtype=bool)
    return Linked(auc(alike[own], alike[~own]), float((alike.argmax(1) == np.arange(len(alike))).mean()))


def _directions(updates: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    centred = updates - updates.mean(0)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(lengths, 1e-30), np.float32)


def matched(
    held: npt.NDArray[np.int64], other: npt.NDArray[np.int64], most: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(which of `held`, which of `other`): as many of each label from both, at most `most`, drawn at random.

    held, other: labels. Without this, who guesses by an image's class alone would be right too often.
    """
    first, second = list[npt.NDArray[np.int64]](), list[npt.NDArray[np.int64]]()
    for label in np.unique(held):
        own, rest = np.flatnonzero(held == label), np.flatnonzero(other == label)
        count = min(len(own), len(rest), most)
        first.append(rng.choice(own, count, replace=False))
        second.append(rng.choice(rest, count, replace=False))
    return np.concatenate(first), np.concatenate(second)
