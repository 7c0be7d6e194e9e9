"""Side information: what both sides know about a position before a flip is sent (DESIGN, section 5, `gap`).

A flip happens exactly when u lies between θ_g and θ_k, so flips crowd where u is close to θ_g. θ_k differs from θ_g by
an optimiser's steps on the *score* s = logit θ, so closeness is measured between scores. Everything here is integer.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deltamask.base.kernels import kernel
from deltamask.codecs.base import CodecContext

UNIT = 256  # score units in one nat
DISTANCES = 50  # four to an octave of |logit u − logit θ_g|
LEVELS = 13  # θ_g's score in whole nats, −6 … 6
BUCKETS = LEVELS * 2 * DISTANCES  # (level, direction of the possible move, distance), distance fastest

MAX_DISTANCE = (1 << 13) - 1  # |logit u − logit θ| is below 6,100 for all u and θ

Scores = npt.NDArray[np.int16]


def _scores(offset: float) -> Scores:
    """round(256·logit((i + offset) / 2¹⁶)) for each i. All machines agree: no value is nearer than 10⁻⁷ to a tie."""
    values = np.arange(1 << 16) + offset
    values[0] = max(values[0], 0.5)
    return np.rint(UNIT * np.log(values / ((1 << 16) - values))).astype(np.int16)


SCORE_OF_U = _scores(0.5)  # u stands for the middle of its cell [u, u + 1)
SCORE_OF_THETA = _scores(0.0)


def _distance_bins() -> npt.NDArray[np.uint8]:
    """Distance in score units to its bin: exact below 4, then four bins to an octave."""
    bins = np.zeros(MAX_DISTANCE + 1, np.uint8)
    for x in range(len(bins)):
        octave = x.bit_length() - 1
        bins[x] = min(x if x < 4 else 4 * (octave - 1) + ((x >> (octave - 2)) & 3), DISTANCES - 1)
    return bins


DISTANCE_BIN = _distance_bins()


@kernel
def _bucket_range(u, theta, score_of_u, score_of_theta, distance_bin, out):  # type: ignore[no-untyped-def]
    for i in range(len(u)):
        score = np.int32(score_of_theta[theta[i]])
        level = min(max(np.int32((score + 6 * 256 + 128) >> 8), np.int32(0)), np.int32(12))
        down = np.int32(u[i] < theta[i])  # the mask bit is 1: only a lower θ_k can flip it
        distance = abs(np.int32(score_of_u[u[i]]) - score)
        out[i] = (level * 2 + down) * 50 + distance_bin[distance]


def buckets(context: CodecContext, start: int, stop: int) -> npt.NDArray[np.uint16]:
    """The bucket, in [0, BUCKETS), of each position in [start, stop): uint16 of shape (stop − start,)."""
    out = np.empty(stop - start, np.uint16)
    theta = np.ascontiguousarray(context.theta[start:stop], np.uint16)
    _bucket_range(context.noise.words(start, stop), theta, SCORE_OF_U, SCORE_OF_THETA, DISTANCE_BIN, out)
    return out


@kernel
def keep_nearer(best, rival):  # type: ignore[no-untyped-def]
    """Put each of the buckets `rival` into its place in `best` (both uint16) where its distance is the smaller one."""
    for i in range(len(best)):
        if rival[i] % DISTANCES < best[i] % DISTANCES:
            best[i] = rival[i]


@kernel
def _distance_range(u, theta, score_of_u, score_of_theta, out):  # type: ignore[no-untyped-def]
    for i in range(len(u)):
        out[i] = abs(np.int32(score_of_u[u[i]]) - np.int32(score_of_theta[theta[i]]))


def distances(context: CodecContext, start: int, stop: int) -> npt.NDArray[np.uint16]:
    """|logit u − logit θ_g| in 1/256 nat for each position in [start, stop): uint16 of shape (stop − start,)."""
    out = np.empty(stop - start, np.uint16)
    theta = np.ascontiguousarray(context.theta[start:stop], np.uint16)
    _distance_range(context.noise.words(start, stop), theta, SCORE_OF_U, SCORE_OF_THETA, out)
    return out
