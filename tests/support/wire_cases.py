"""Contexts, golden payloads and mutations that the wire's tests and `benchmarks/soak.py` share.

python -m tests.support.wire_cases    # writes golden payloads that are missing, and never touches one that exists
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from deltamask import downlink
from deltamask.base.files import write_atomic
from deltamask.codecs import CodecContext, codecs, conformance
from deltamask.codecs.conformance import CLIENT, ROUND, SEED
from deltamask.codecs.updates import UpdateContext, updates
from deltamask.codecs.wire import dense, png
from deltamask.codecs.wire.message import HEADER, HEADER_BYTES, seal, unseal
from deltamask.config import RunConfig
from deltamask.downlink import Change, ThetaMemory, counts
from deltamask.heads import HeadSettings, Sender, Statistics, closed_form, heads, temperature
from deltamask.masking.masks import THETA_MAX, THETA_MIN, Positions, flips
from deltamask.methods import feedsign, head_only, head_round  # noqa: F401  # register their kinds of message

GOLDEN = Path(__file__).parent.parent / "golden"
D = 512
LAYERS = (0, 200, 512)

Decode = Callable[[bytes], object]


def context(d: int = D) -> CodecContext:
    """A context that any language can rebuild; at the golden payloads' d with their layers."""
    return conformance.context(d, LAYERS if d == D else None)


def golden_positions() -> Positions:
    """Every seventeenth position or so, uneven on purpose."""
    return np.array([i for i in range(D) if (i * i + 3 * i) % 17 == 4 and i % 3], np.int64)


MANY = 60_000  # positions of the second golden payload of what learns: several chunks, so that its model has learnt


def many_flips() -> tuple[Positions, CodecContext]:
    """Flips of a θ_k that is θ_g moved by up to 1,500/65,536, by a formula."""
    of = context(MANY)
    move = (np.arange(MANY) * 40503 % 3001) - 1500
    client = np.clip(of.theta.astype(np.int64) + move, THETA_MIN, THETA_MAX).astype(np.uint16)
    return flips(client, of.theta, of.noise.words(0, MANY)), of


DOWN = RunConfig(seed=SEED, clients=5)
LAW = downlink.MaskLaw(public=True)


def golden_memory() -> ThetaMemory:
    return downlink.ThetaMemory(context().theta, np.zeros(D, np.int32), 0, golden_head())


def golden_change() -> Change:
    """Three masks of five: mostly as expected, here and there one or two bits off."""
    i = np.arange(D)
    values = ((i * 7 % 31 == 3) * 1 - (i * 5 % 29 == 4) * 2).astype(np.int32)
    return downlink.Change(values, np.array([0, 2, 3], np.uint32))


def golden_head() -> np.ndarray:
    return (np.arange(40, dtype=np.float32) - 20) / 8


UPDATE_LENGTH = 600  # two buckets of QSGD, two blocks of a rotation


def golden_update() -> np.ndarray:
    """Values of both signs over three orders of magnitude, by a formula."""
    i = np.arange(UPDATE_LENGTH)
    return ((i * 40503 % 2001 - 1000) / 2.0 ** (10 + i % 10)).astype(np.float32)


STEPS = RunConfig(method="feedsign", zo_steps=19)  # directions that do not fill their last byte
HEADS = HeadSettings(SEED, classes=3, features=9, means=2, projection=6)
HOLDS = Sender(CLIENT, np.array([5, 0, 6]))


def golden_features() -> tuple[np.ndarray, np.ndarray]:
    """Eleven samples of two classes, by a formula."""
    i = np.arange(11 * 9).reshape(11, 9)
    return (i * 40503 % 101 / 32).astype(np.float32), np.repeat([0, 2], [5, 6])


def flat_statistics(of: Statistics) -> np.ndarray:
    """All of a client's statistics as one vector of integers."""
    parts = (of.labels, of.counts, of.sums, np.zeros(0, np.int64) if of.gram is None else of.gram)
    return np.concatenate([part.ravel() for part in parts])


def digest(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def decoders() -> dict[str, tuple[str, Callable[[], bytes], Decode]]:
    """name → (suffix, encode the golden content, decode any payload) of every message there is."""
    of = context()
    table: dict[str, tuple[str, Callable[[], bytes], Decode]] = {
        "dense32": (
            ".png",
            lambda: dense.encode_dense32(golden_head(), ROUND, CLIENT),
            lambda payload: dense.decode_dense32(payload, 40, ROUND, CLIENT),
        ),
        "counts": (
            ".bin",
            lambda: downlink.encode_change(LAW, DOWN, golden_memory(), ROUND, golden_change()),
            lambda payload: downlink.decode_change(LAW, DOWN, golden_memory(), ROUND, payload).values,
        ),
        "theta": (
            ".bin",
            lambda: seal("theta", ROUND, dense.SERVER, D, counts.encode_tabled(of.theta >> 12)),
            lambda payload: counts.decode_tabled(unseal(payload, "theta", ROUND, dense.SERVER, D), D),
        ),
        "ones": (
            ".bin",
            lambda: seal("ones", ROUND, dense.SERVER, D, counts.encode_tabled(np.arange(D) * 7 % 31 % 6)),
            lambda payload: counts.decode_tabled(unseal(payload, "ones", ROUND, dense.SERVER, D), D),
        ),
        "votes": (
            ".bin",
            lambda: feedsign.encode_votes(STEPS, golden_update()[: STEPS.zo_steps], UpdateContext(SEED, ROUND, CLIENT)),
            lambda payload: feedsign.decode_votes(STEPS, payload, UpdateContext(SEED, ROUND, CLIENT)),
        ),
    }
    for name in codecs:
        codec = codecs[name]
        table[name] = (
            codec.suffix,
            lambda codec=codec: codec.encode(golden_positions(), of),  # type: ignore[misc]
            lambda payload, codec=codec: codec.decode(payload, of),  # type: ignore[misc]
        )
    for name in heads:
        kind = closed_form(name)
        if kind is None:
            continue
        table[f"head-{name}"] = (
            ".bin",
            lambda kind=kind: kind.encode(kind.summarise(*golden_features(), HOLDS, HEADS), HOLDS, HEADS),  # type: ignore[misc]
            lambda payload, kind=kind: flat_statistics(kind.decode(payload, HOLDS, HEADS)),  # type: ignore[misc]
        )
    for name in ("head-ask", "nothing"):  # a header is all there is
        table[name] = (
            ".bin",
            lambda name=name: seal(name, ROUND, CLIENT, D, b""),  # type: ignore[misc]
            lambda payload, name=name: np.frombuffer(unseal(payload, name, ROUND, CLIENT, D), np.uint8),  # type: ignore[misc]
        )
    losses = np.arange(len(temperature.GRID), dtype=np.int64) * 40503
    table["head-temperature"] = (
        ".bin",
        lambda: temperature.encode(losses, HOLDS),
        lambda payload: temperature.decode(payload, HOLDS),
    )
    at = UpdateContext(SEED, ROUND, CLIENT)
    for name in updates:
        update = updates[name]
        table[name] = (
            update.suffix,
            lambda update=update: update.encode(golden_update(), at),  # type: ignore[misc]
            lambda payload, update=update: update.decode(payload, UPDATE_LENGTH, at),  # type: ignore[misc]
        )
    return table


def golden_payloads(folder: Path = GOLDEN) -> dict[str, bytes]:
    """By name; those of a codec that has none yet are written first."""
    write_missing(folder)
    return {name: (folder / f"{name}{suffix}").read_bytes() for name, (suffix, _, _) in decoders().items()}


def write_missing(folder: Path = GOLDEN) -> None:
    """Golden payloads for whatever has none yet, and what they decode to. Several workers may do so at once."""
    missing = {
        name: (f"{name}{suffix}", encode, decode)
        for name, (suffix, encode, decode) in decoders().items()
        if not (folder / f"{name}{suffix}").exists()
    }
    if missing:
        index = json.loads((folder / "index.json").read_text())
        for name, (file, encode, decode) in missing.items():
            payload = encode()
            index[name] = {"sha256_of_decoded": digest(np.asarray(decode(payload)))}
            _write(folder / file, payload)
        _write(folder / "index.json", (json.dumps(index, indent=1) + "\n").encode())


def _write(path: Path, content: bytes) -> None:
    with write_atomic(path) as file:
        file.write(content)


# Mutations. A picture is taken apart to its pixels, so that changes reach the fields behind two checksums.


def is_picture(payload: bytes) -> bool:
    return payload.startswith(png.SIGNATURE)


def message_of(payload: bytes) -> bytes:
    """Header and body, with the picture's padding if it is one."""
    return png.read(payload, 1 << 30)[0] if is_picture(payload) else payload


def wrap(message: bytes, like: bytes, *, fix: bool = True, length: int | None = None) -> bytes:
    """`message` as a payload of the same container as `like`; `fix` makes its checksum right for `length` bytes."""
    if fix and len(message) >= HEADER_BYTES:
        body = message[HEADER_BYTES:length]
        head = message[: HEADER_BYTES - 4]
        message = head + struct.pack("<I", zlib.crc32(body, zlib.crc32(head))) + message[HEADER_BYTES:]
    return png.write(message) if is_picture(like) else message


def true_length(payload: bytes, name: str) -> int:
    """Bytes of the message inside a golden picture, without padding: the length whose checksum matches."""
    message = message_of(payload)
    crc = HEADER.unpack_from(message)[-1]
    head = message[: HEADER_BYTES - 4]
    for length in range(len(message), HEADER_BYTES - 1, -1):
        if zlib.crc32(message[HEADER_BYTES:length], zlib.crc32(head)) == crc:
            return length
    raise ValueError(f"golden payload of {name} has no valid length")


def every_byte_change(payload: bytes) -> Iterator[bytes]:
    """All 255 other values of every byte."""
    for at in range(len(payload)):
        for value in range(256):
            if value != payload[at]:
                yield payload[:at] + bytes([value]) + payload[at + 1 :]


def every_field_change(payload: bytes, name: str) -> Iterator[bytes]:
    """Each single bit of the message, and each byte set to 0 and 255, with all checksums made right again."""
    length = true_length(payload, name)
    message = message_of(payload)[:length]
    for at in range(length):
        for value in {message[at] ^ (1 << bit) for bit in range(8)} | {0, 255}:
            yield wrap(message[:at] + bytes([value]) + message[at + 1 :], payload)


def every_truncation(payload: bytes, name: str) -> Iterator[bytes]:
    """The payload cut anywhere, and its message cut anywhere with the checksums made right again."""
    yield from (payload[:length] for length in range(len(payload)))
    message = message_of(payload)[: true_length(payload, name)]
    yield from (wrap(message[:length], payload) for length in range(len(message)))


if __name__ == "__main__":
    write_missing()
