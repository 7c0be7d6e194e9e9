"""FeedSign (arXiv 2501.17610): a client says for each public direction whether it leads up or down, one bit.

The server takes the majority and answers with it, one bit as well; everyone steps against it: w −= η·s·z.

In the paper each step waits for the votes on the one before, so a step is an exchange. Here a round has `zo_steps`
directions, all looked along at the round's first weights, each on a batch of its own, and is one exchange of that many
bits; with `zo_steps = 1` it is the paper's step. Steps are short and directions nearly orthogonal, so that what a step
does to the votes on the others is of second order in η. Votes are not weighted by samples, as in the paper; a tie
counts as up, which for a random direction is as good as a coin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from deltamask.codecs.updates import UpdateContext
from deltamask.codecs.wire.dense import Vector
from deltamask.codecs.wire.message import DecodeError, register_kind, seal, unseal
from deltamask.config import RunConfig
from deltamask.methods import zeroth_order
from deltamask.methods.base import Receipt, decoded, methods
from deltamask.methods.zeroth_order import Code

KIND = "votes"
register_kind(KIND, 112, body="votes", about="one bit a direction: does the loss rise along it?")


def signs(slopes: Vector) -> Vector:
    """±1 of each slope or sum of votes; 0 counts as up."""
    return np.where(slopes >= 0, 1, -1).astype(np.float32)


def encode_votes(config: RunConfig, values: Vector, context: UpdateContext) -> bytes:
    """Signs (steps,), 0 counting as +1, one bit each."""
    bits = np.packbits(values >= 0, bitorder="little")
    return seal(KIND, context.round, context.client, len(values), bits.tobytes())


def decode_votes(config: RunConfig, payload: bytes, context: UpdateContext) -> Vector:
    """±1, (steps,). Raises DecodeError."""
    n = config.zo_steps
    body = unseal(payload, KIND, context.round, context.client, n)
    if len(body) != -(-n // 8):
        raise DecodeError(f"message holds {len(body)} bytes of votes, expected {-(-n // 8)}")
    bits = np.unpackbits(np.frombuffer(body, np.uint8), bitorder="little")
    if bits[n:].any():
        raise DecodeError("unused bits are not zero")
    return bits[:n].astype(np.float32) * 2 - 1


def majority(
    config: RunConfig,
    samples: np.ndarray,
    payloads: Iterable[tuple[int, bytes]],
    decode: Callable[[int, bytes], Vector],
    on_receipt: Callable[[Receipt], None],
) -> Vector | None:
    """(steps,) ±1: what most clients say."""
    total, answers = np.zeros(config.zo_steps, np.float32), 0
    for _, votes in decoded(payloads, decode, on_receipt):
        total, answers = total + votes, answers + 1
    return signs(total) if answers else None


methods.register("feedsign")(
    zeroth_order.method(
        "FeedSign",
        "Clients vote on random directions, one bit each; nothing else is sent either way.",
        "scalars",
        Code(encode_votes, decode_votes, signs, walks=False),
        majority,
        color="#f828e8",
        marker="star-diamond",
    )
)
