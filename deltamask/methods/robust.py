"""`robust`: how far one client can move the server. Half of a round's clients, at least, must be honest.

What a client may do is measured by the round's median: that norm of a vector times its weight, or CLIP times that
number of flips and what they cost in KL. It takes a first pass over the payloads, which are kept as the bytes they
came in; decoded vectors are not. Only `trimmed` and `median` need all vectors of a round at once: at most HELD of them.
Of more clients, means of ⌈K/HELD⌉ stand for one each (bucketing, Karimireddy et al., arXiv 2006.09365).
Trimmed mean and median by coordinate: Yin et al., arXiv 1803.01498.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from deltamask.base.units import ceil
from deltamask.codecs.wire.dense import Vector
from deltamask.codecs.wire.message import DecodeError
from deltamask.config import RunConfig
from deltamask.heads import Statistics
from deltamask.heads.screen import far_off
from deltamask.masking import noise
from deltamask.masking.masks import ONE, THETA_MAX, THETA_MIN, Positions, Theta, bernoulli_kl
from deltamask.masking.noise import Words
from deltamask.methods.base import Receipt, decoded

CLIP = 1.5  # times the median number and cost of flips
SPREAD = 4.0  # standard deviations of a count, beyond that: few flips vary more
HEAVIEST = 2.0  # times the median of the clients' samples
TRIM = 0.2  # of the values on either side
HELD = 64  # vectors
COLUMNS = 1 << 16  # coordinates that are sorted at a time
FEWEST = 3  # clients that a median is taken of: of two, one cannot say which one lies

Payloads = Iterable[tuple[int, bytes]]
T = TypeVar("T")


def _nobody(receipt: Receipt) -> None:
    """A first pass says nothing: the second one does."""


def _norm(vector: Vector) -> float:
    """‖v‖₂, which float32 cannot hold of values that may be sent."""
    return math.sqrt(np.einsum("i,i->", vector, vector, dtype=np.float64))


def weights(config: RunConfig, samples: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """(clients,) what each counts in an average: its samples, with protection at most HEAVIEST times their median."""
    heaviest = np.inf
    if config.robust != "none" and samples.any():
        heaviest = HEAVIEST * float(np.median(samples[samples > 0]))
    return np.minimum(samples.astype(np.float64), heaviest)


def average(
    config: RunConfig,
    samples: npt.NDArray[np.int64],
    payloads: Payloads,
    decode: Callable[[int, bytes], Vector],
    on_receipt: Callable[[Receipt], None],
    before: Vector | float = 0.0,
) -> tuple[npt.NDArray[np.float64], float]:
    """(Σ weight·vector, Σ weight) of what decodes; the weight is 0 if nothing does.

    before: what a vector is the change of, where it is sent whole; norms are those of changes.
    """
    if config.robust in ("trimmed", "median"):
        return _by_coordinate(config, payloads, decode, on_receipt)
    weight_of, total, weight = weights(config, samples), np.zeros(1, np.float64), 0.0
    limit = np.inf
    if config.robust == "clip":
        payloads = list(payloads)
        pulls = [weight_of[client] * _norm(vector - before) for client, vector in decoded(payloads, decode, _nobody)]
        limit = float(np.median(pulls)) if len(pulls) >= FEWEST else np.inf
    for client, vector in decoded(payloads, decode, on_receipt):
        if limit < np.inf and (pull := weight_of[client] * _norm(vector - before)) > limit:
            vector = before + (vector - before) * np.float32(limit / pull)
        if not weight:
            total = np.zeros(len(vector), np.float64)
        total += float(weight_of[client]) * vector
        weight += float(weight_of[client])
    return total, weight


def _by_coordinate(
    config: RunConfig, payloads: Payloads, decode: Callable[[int, bytes], Vector], on_receipt: Callable[[Receipt], None]
) -> tuple[npt.NDArray[np.float64], float]:
    """Trimmed mean or median of each value, in which all clients count the same; and 1, or 0 of nothing."""
    together = ceil(config.clients_per_round / HELD)
    held: list[Vector] = []
    for number, (_, vector) in enumerate(decoded(payloads, decode, on_receipt)):
        place = number % together
        if place:
            held[-1] += (vector - held[-1]) / np.float32(place + 1)
        else:
            held.append(vector.copy())
    if not held:
        return np.zeros(1), 0.0
    out = np.empty(len(held[0]), np.float64)
    off = max(int(TRIM * len(held)), len(held) >= FEWEST)
    for start in range(0, len(out), COLUMNS):
        part = np.sort(np.stack([vector[start : start + COLUMNS] for vector in held]).astype(np.float64), axis=0)
        if config.robust == "median":
            out[start : start + COLUMNS] = np.median(part, axis=0)
        else:
            out[start : start + COLUMNS] = part[off : len(held) - off].mean(axis=0)
    return out, 1.0


def clipped(
    config: RunConfig,
    round: int,
    payloads: Payloads,
    decode: Callable[[int, bytes], Positions],
    cost: Callable[[int, Positions], npt.NDArray[np.float64]],
) -> tuple[Payloads, Callable[[int, bytes], Positions]]:
    """(payloads, decode) of sets of positions, no client's far above the others' in number or in cost.

    cost(client, positions): what each costs. Of a set that is too large a random part stays: what is left is spread as
    the set was, and a liar cannot choose where.
    """
    if config.robust == "none":
        return payloads, decode
    payloads = list(payloads)
    sizes = [(len(found), cost(client, found).sum()) for client, found in decoded(payloads, decode, _nobody)]
    if len(sizes) < FEWEST:
        return payloads, decode
    number, price = np.median(sizes, axis=0)
    most = CLIP * number + SPREAD * np.sqrt(number) + SPREAD
    dearest = price * most / max(number, 1.0)

    def within(client: int, payload: bytes) -> Positions:
        positions = decode(client, payload)
        costs = cost(client, positions)
        if len(positions) <= most and costs.sum() <= dearest:
            return positions
        rng = noise.generator(config.seed, "clip", round=round, client=client)
        order = rng.permutation(len(positions))[: int(most)]
        return np.sort(positions[order[np.cumsum(costs[order]) <= dearest]])

    return payloads, within


def screened(
    config: RunConfig,
    payloads: Payloads,
    decode: Callable[[int, bytes], T],
    statistics: Callable[[T], Statistics],
    classes: int,
) -> tuple[Payloads, Callable[[int, bytes], T]]:
    """(payloads, decode) of which decode refuses clients whose statistics are far off the others' (`heads/screen.py`).

    statistics: those in a decoded payload.
    """
    if config.robust == "none":
        return payloads, decode
    payloads = list(payloads)
    refused = far_off(((client, statistics(found)) for client, found in decoded(payloads, decode, _nobody)), classes)

    def within(client: int, payload: bytes) -> T:
        if client in refused:
            raise DecodeError(refused[client])
        return decode(client, payload)

    return payloads, within


def cost_of_flips(theta: Theta, u: Words, positions: Positions) -> npt.NDArray[np.float64]:
    """The least KL(θ_k ‖ θ_g), in nats, at which a position flips: that of the θ_k which just reaches u."""
    return bernoulli_kl(u[positions].clip(THETA_MIN, THETA_MAX), theta[positions])


def surprise(theta: Theta, positions: Positions) -> npt.NDArray[np.float64]:
    """|logit θ_g|: how much less likely each of these bits is than the other one, in nats."""
    there = theta[positions] / ONE
    return np.abs(np.log(there / (1 - there)))
