"""DeComFL (arXiv 2405.15861): local zeroth-order steps along public directions, of which only the slopes are sent.

A client takes `zo_steps` steps w −= η·g_t·z_t with its own slopes g_t and sends these; the server averages them step by
step and answers with the averages, by which everyone walks from where the round began.

Chosen before FedKSeed (2312.06353), the other method that sends seeds and scalars, because it fits a round here: all
clients walk along the same directions, so that one number a step comes back, and a client rebuilds its weights from the
rounds that it missed. FedKSeed's clients choose among K seeds, and whoever joins a round sums K directions anew.

Where we differ: one direction a step (the paper's P = 1), random signs instead of normal numbers, clients weighted by
samples, the head as round 0 left it, and no seeds on the wire, since they follow from the run's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from deltamask.codecs.updates import UpdateContext, updates
from deltamask.codecs.wire.dense import Vector
from deltamask.config import RunConfig
from deltamask.methods import robust, zeroth_order
from deltamask.methods.base import Receipt, Variant, methods
from deltamask.methods.zeroth_order import Code


def encode(config: RunConfig, values: Vector, context: UpdateContext) -> bytes:
    """Slopes (steps,) in the update codec."""
    return updates[config.update_codec].encode(values, context)


def decode(config: RunConfig, payload: bytes, context: UpdateContext) -> Vector:
    """The other way. Raises DecodeError."""
    return updates[config.update_codec].decode(payload, config.zo_steps, context)


def as_they_are(slopes: Vector) -> Vector:
    return slopes


def average(
    config: RunConfig,
    samples: np.ndarray,
    payloads: Iterable[tuple[int, bytes]],
    decode: Callable[[int, bytes], Vector],
    on_receipt: Callable[[Receipt], None],
) -> Vector | None:
    """(steps,) the average slopes, weighted by samples."""
    total, weight = robust.average(config, samples, payloads, decode, on_receipt)
    return (total / weight).astype(np.float32) if weight else None


methods.register("decomfl")(
    zeroth_order.method(
        "DeComFL",
        "Clients send the loss's slopes along random directions, a number each, and are sent the averages.",
        "values",
        Code(encode, decode, as_they_are, walks=True),
        average,
        reads=("update_codec",),
        variant=lambda config: Variant((config.update_codec,)),
        color="#80587f",
        marker="triangle-right",
    )
)
