"""The factor on a head's logits under which training starts: the one with the least cross-entropy on training data.

A head that follows from a formula ranks classes well, but its logits may be far too sure (LDA) or hardly sure at all
(ridge). Every client is sent the head once, and answers with its samples' losses at each of a few temperatures, summed
in fixed point: sums that do not depend on how samples are split.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deltamask.codecs.wire.message import DecodeError, register_kind, seal, unseal
from deltamask.heads.base import Features, HeadSettings, Integers, Linear, Sender
from deltamask.heads.statistics import to_steps

KIND = "head-temperature"
GRID = 2.0 ** np.arange(-8, 5.5, 0.5)
UNIT = 1 << 16  # losses are in units of 2⁻¹⁶ nat
LARGEST_LOSS = 64 * UNIT  # of a sample: one that is hopelessly wrong weighs no more than this
WEIGHT_BITS = 24  # of a weight, as an integer: products with features add up exactly


def losses(head: Linear, x: Features, y: Integers, settings: HeadSettings) -> Integers:
    """(len(GRID),) Σ cross-entropy of temperature · logits over the samples, in units. x: (n, features); y: (n,)."""
    scale = 2.0 ** (WEIGHT_BITS - np.frexp(np.abs(head.weight).max(initial=1e-30))[1])
    steps = to_steps(x, settings.fraction_bits).astype(np.float64)
    products = steps @ np.rint(head.weight * scale).T  # whole numbers below 2⁵³, exact in every order
    logits = products / scale * 2.0**-settings.fraction_bits + head.bias
    logits = logits - logits.max(1, keepdims=True)
    own = logits[np.arange(len(y)), y]
    sums = []
    for temperature in GRID:
        loss = np.log(np.exp(temperature * logits).sum(1)) - temperature * own
        sums.append(int(np.rint(loss * UNIT).clip(0, LARGEST_LOSS).astype(np.int64).sum()))
    return np.array(sums, np.int64)


def encode(sums: Integers, sender: Sender) -> bytes:
    """A client's sums as a message: eight bytes each."""
    return seal(KIND, sender.round, sender.client, len(GRID), sums.astype("<u8").tobytes())


def decode(payload: bytes, sender: Sender) -> Integers:
    """The sums. Raises DecodeError, also for sums beyond what the registered samples can lose."""
    body = unseal(payload, KIND, sender.round, sender.client, len(GRID))
    if len(body) != 8 * len(GRID):
        raise DecodeError(f"{len(body)} bytes of losses, expected {8 * len(GRID)}")
    sums = np.frombuffer(body, "<u8")
    most = int(sender.registered.sum()) * LARGEST_LOSS
    if sums.max() > most:
        raise DecodeError(f"a loss of {sums.max()} units over {sender.registered.sum()} samples, at most {most}")
    return sums.astype(np.int64)


def best(total: npt.NDArray[np.int64] | npt.NDArray[np.float64]) -> float:
    """The temperature with the least loss; the lowest of several."""
    return float(GRID[int(np.argmin(total))])


register_kind(KIND, 108, body="losses", about="the sum of the losses at each temperature, eight bytes each")
