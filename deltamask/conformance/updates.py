"""What must hold for an update codec: finite values back, honest bias, and DecodeError for whatever else comes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from deltamask.codecs.conformance import Broken
from deltamask.codecs.updates import LARGEST, SERVER, DecodeError, UpdateCodec, UpdateContext
from deltamask.codecs.wire.dense import Vector

LENGTHS = (0, 1, 3, 1000, 4096)
AT = UpdateContext(seed=5, round=7, client=3)


def heavy(n: int, seed: int = 0) -> Vector:
    """Student's t with 3 degrees of freedom: a few values carry much of the norm, as in real updates."""
    return (1e-3 * np.random.default_rng(seed).standard_t(3, n)).astype(np.float32)


def there_and_back(codec: UpdateCodec, values: Vector, at: UpdateContext = AT) -> Vector:
    """What was decoded: finite float32, as many as were encoded."""
    payload = codec.encode(values, at)
    if not isinstance(payload, bytes):
        raise Broken(f"encode returned {type(payload).__name__}, not bytes")
    decoded = codec.decode(payload, len(values), at)
    if decoded.dtype != np.float32 or decoded.shape != values.shape:
        raise Broken(f"decode gave {decoded.dtype} of shape {decoded.shape}, not float32 of shape {values.shape}")
    if not np.isfinite(decoded).all() or np.abs(decoded).max(initial=0) > LARGEST:
        raise Broken("decode gave values that are not finite, or above LARGEST")
    return decoded


def every_length_comes_back(codec: UpdateCodec) -> None:
    """Any number of values; zeros as zeros; the same values as the same bytes."""
    for n in LENGTHS:
        if there_and_back(codec, np.zeros(n, np.float32)).any():
            raise Broken(f"{n} zeros did not come back as zeros")
        for values in (heavy(n), np.full(n, 0.25, np.float32)):
            if not np.array_equal(there_and_back(codec, values), there_and_back(codec, values)):
                raise Broken(f"the same {n} values gave different results")
    there_and_back(codec, np.full(1000, LARGEST, np.float32))


def what_cannot_be_sent_is_named(codec: UpdateCodec) -> None:
    """NaN, infinity, values above LARGEST and matrices raise ValueError: `checked` does that."""
    for values in ([1, math.nan], [math.inf, 2], [1, 1.1 * LARGEST], [[1, 2], [3, 4]]):
        try:
            codec.encode(np.array(values, np.float32), AT)
        except ValueError:
            continue
        raise Broken(f"{values} was encoded")


def its_bias_is_as_declared(codec: UpdateCodec) -> None:
    """Over 500 seeds, the mean is as near to the values as the spread allows, seen from them and 20 directions."""
    values, times = heavy(500, 2), 500
    directions = np.vstack([values / np.linalg.norm(values), np.random.default_rng(0).normal(size=(20, 500))])
    decoded = np.array([there_and_back(codec, values, UpdateContext(seed, 1, 2)) for seed in range(times)])
    seen = (decoded.astype(np.float64) - values) @ directions.T
    allowed = 5 * seen.std(axis=0) / math.sqrt(times) + 1e-6 * np.linalg.norm(values)
    off = int((np.abs(seen.mean(axis=0)) > allowed).sum())
    if (off == 0) != codec.unbiased:
        raise Broken(f"unbiased = {codec.unbiased}, and {off} of {len(allowed)} directions are off")


def other_bytes_are_refused(codec: UpdateCodec) -> None:
    """Cut, damaged, or of another round, client or length: DecodeError, and nothing else."""
    payload, n = codec.encode(heavy(130), AT), 130
    others = [(payload[:length], n, AT) for length in range(len(payload))]
    others += [(payload[:at] + bytes([payload[at] ^ 16]) + payload[at + 1 :], n, AT) for at in range(len(payload))]
    others += [(payload, n, UpdateContext(5, round, client)) for round, client in ((8, 3), (7, 4), (7, SERVER))]
    others += [(payload, 129, AT), (payload, 1 << 40, AT), (payload + b"\0", n, AT)]
    for data, count, at in others:
        try:
            codec.decode(data, count, at)
        except DecodeError:
            continue
        except Exception as error:
            raise Broken(f"{len(data)} bytes for {count} values raised {type(error).__name__}: {error}") from error
        raise Broken(f"{len(data)} bytes for {count} values, round {at.round}, client {at.client} were accepted")


LAWS: dict[str, Callable[[UpdateCodec], None]] = {
    law.__name__.replace("_", " "): law
    for law in (
        every_length_comes_back,
        what_cannot_be_sent_is_named,
        its_bias_is_as_declared,
        other_bytes_are_refused,
    )
}
