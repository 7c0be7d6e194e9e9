"""What must hold for whatever is registered as a codec, as functions: the tests call them, and so can you.

    for name, law in LAWS.items():
        law(codec)          # raises Broken, saying what was expected and what came

A law takes any object with the codec's interface, registered or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from deltamask.codecs.base import Codec, CodecContext
from deltamask.codecs.wire.message import DecodeError
from deltamask.masking.masks import THETA_MAX, THETA_MIN, Positions, flips, to_fixed
from deltamask.masking.noise import PublicNoise

SEED, ROUND, CLIENT = 11, 7, 3


class Broken(AssertionError):
    """A law does not hold for this codec."""


def context(d: int, layers: tuple[int, ...] | None = None) -> CodecContext:
    """A context that any language can rebuild: θ_g by a formula, u from the seed."""
    spread = (np.arange(d, dtype=np.uint64) * np.uint64(2654435761) % np.uint64(1 << 32)) >> np.uint64(16)
    theta = np.maximum(THETA_MIN, np.minimum(THETA_MAX, spread)).astype(np.uint16)
    return CodecContext(ROUND, CLIENT, theta, PublicNoise(SEED, ROUND, CLIENT), layers or (0, d // 3, d))


def realistic_flips(d: int, width: float, seed: int) -> tuple[Positions, CodecContext]:
    """Flips that come from Gaussian steps of `width` nats on the score, and their context."""
    rng = np.random.default_rng(seed)
    scores = np.clip(rng.normal(2.9, 1.5, d), -6, 6)
    theta = to_fixed(1 / (1 + np.exp(-scores)))
    client = to_fixed(1 / (1 + np.exp(-np.clip(scores + rng.normal(0, width, d), -6, 6))))
    of = CodecContext(2, 1, theta, PublicNoise(seed, 2, 1), (0, d // 3, d))
    return flips(client, theta, of.noise.words(0, d)), of


def round_trip(codec: Codec, positions: Positions, of: CodecContext) -> Positions:
    """What was decoded: int64, sorted, with every position that was encoded, and no other if the codec is exact."""
    payload = codec.encode(positions, of)
    if not isinstance(payload, bytes):
        raise Broken(f"encode returned {type(payload).__name__}, not bytes")
    decoded = codec.decode(payload, of)
    if not isinstance(decoded, np.ndarray) or decoded.dtype != np.int64:
        raise Broken("decode must return an int64 array of positions")
    if not (np.diff(decoded) > 0).all():
        raise Broken("decoded positions are not sorted and unique")
    if len(decoded) and (decoded[0] < 0 or decoded[-1] >= of.d):
        raise Broken(f"decoded positions leave [0, {of.d})")
    if not np.isin(positions, decoded).all():
        raise Broken("a flip was lost: no codec may have false negatives")
    if codec.exact and len(decoded) != len(positions):
        raise Broken(f"an exact codec decoded {len(decoded)} positions of {len(positions)}")
    return decoded


def flips_of_training(codec: Codec) -> None:
    """Flips such as learning makes come back."""
    for width, seed in ((0.02, 1), (0.4, 3), (3.0, 4)):
        round_trip(codec, *realistic_flips(30_000, width, seed))


def few_positions_and_all(codec: Codec) -> None:
    """No position, the first, the last, both, all; of d from 1 on. The empty set has no false flips: nothing to ask."""
    for d in (1, 2, 3, 16, 1000, 70_000):
        of = context(d)
        for positions in ([], [0], [d - 1], [0, d - 1], range(d)):
            decoded = round_trip(codec, np.array(sorted(set(positions)), np.int64), of)
            if not len(positions) and len(decoded):
                raise Broken(f"the empty set decoded to {len(decoded)} positions")


def same_flips_same_bytes(codec: Codec) -> None:
    """Encoding is a function: nothing random, nothing left over from a call before."""
    positions, of = realistic_flips(30_000, 0.4, 3)
    if codec.encode(positions, of) != codec.encode(positions, of):
        raise Broken("the same flips gave different bytes")


def a_callers_mistake_is_named(codec: Codec) -> None:
    """Positions that are unsorted, repeated or outside [0, d) raise ValueError: `checked` does that."""
    for bad in ([3, 2], [2, 2], [-1, 4], [4, 512]):
        try:
            codec.encode(np.array(bad), context(512))
        except ValueError as error:
            if "not sorted, unique and in" in str(error):
                continue
            raise Broken(f"positions {bad}: ValueError says {str(error)!r} instead of naming the mistake") from error
        raise Broken(f"positions {bad} were encoded although they are not sorted, unique and in [0, 512)")


def damaged(payload: bytes) -> Iterator[bytes]:
    """The payload cut anywhere, lengthened, and with each byte changed in four ways."""
    yield from (payload[:length] for length in range(len(payload)))
    yield payload + b"\0"
    for at, value in enumerate(payload):
        for other in {0, 255, value ^ 1, value ^ 128} - {value}:
            yield payload[:at] + bytes([other]) + payload[at + 1 :]


def damage_is_refused(codec: Codec) -> None:
    """Whatever happened to the bytes on the way, the decoder answers with DecodeError."""
    of = context(512)
    payload = codec.encode(np.array([5, 40, 41, 300], np.int64), of)
    for bad in damaged(payload):
        try:
            codec.decode(bad, of)
        except DecodeError:
            continue
        except Exception as error:
            raise Broken(f"a damaged payload raised {type(error).__name__} ({error}), not DecodeError") from error
        raise Broken("a damaged payload was decoded as if nothing had happened")


def others_messages_are_refused(codec: Codec) -> None:
    """A payload of another round, client or d is not taken for this one."""
    payload = codec.encode(np.array([5, 300], np.int64), context(512))
    usual = context(512)
    strangers = (
        CodecContext(ROUND + 1, CLIENT, usual.theta, usual.noise, usual.layers),
        CodecContext(ROUND, CLIENT + 1, usual.theta, usual.noise, usual.layers),
        context(513),
    )
    for other in strangers:
        try:
            codec.decode(payload, other)
        except DecodeError:
            continue
        raise Broken(
            f"a payload of round {ROUND}, client {CLIENT}, d 512 was taken for one of round {other.round}, client "
            f"{other.client}, d {other.d}"
        )


LAWS: dict[str, Callable[[Codec], None]] = {
    law.__name__.replace("_", " "): law
    for law in (
        flips_of_training,
        few_positions_and_all,
        same_flips_same_bytes,
        a_callers_mistake_is_named,
        damage_is_refused,
        others_messages_are_refused,
    )
}
