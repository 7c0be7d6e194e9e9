"""The downlink of the mask methods: θ_g sent as what it is, small integer counts, given what the client already has.

Every message says what changed since the one before: the sum over the received clients of their mask's difference from
what anyone could expect. A client keeps what the messages left it (`Memory`), aggregates as the server does, and so
holds the server's θ_g bit for bit. One that missed rounds gets all it missed, or a snapshot where that is shorter.
Needs no torch.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from deltamask.codecs import CodecContext, DecodeError, side_information
from deltamask.codecs.updates import UpdateContext, updates
from deltamask.codecs.wire import dense
from deltamask.codecs.wire.dense import SERVER, Head
from deltamask.codecs.wire.message import register_kind, seal, unseal
from deltamask.config import RunConfig
from deltamask.downlink import counts
from deltamask.masking import aggregation, masks
from deltamask.masking.masks import ONE, THETA_MAX, THETA_MIN, Theta, to_fixed
from deltamask.masking.noise import PublicNoise

FIELDS = struct.Struct("<I")  # clients that were received, whose ids follow in four bytes each
METHODS = ("deltamask", "deepreduce", "fedpm", "fedmask")  # those whose clients are sent θ_g
PUBLIC = ("deltamask", "deepreduce")  # those of them whose masks are drawn from public randomness
register_kind("counts", 65)  # 64 was θ_g in 16 bits a parameter
register_kind("theta", 66)
register_kind("ones", 67)
LEVELS = 256  # of θ_g, as a context where there is no public randomness


@dataclass(frozen=True)
class Memory:
    """What server and client both know of θ_g: theta (d,); ones (d,) out of `seen` masks since the priors' last reset.

    head: the classifier, frozen after round 0.
    """

    theta: Theta
    ones: aggregation.Counts
    seen: int
    head: Head


@dataclass(frozen=True)
class Change:
    """A round's outcome. values: (d,) Σ_k m̂_k − what anyone could expect. received: the ids of the k, ascending."""

    values: counts.Integers
    received: npt.NDArray[np.uint32]


def first(config: RunConfig, d: int, head: Head) -> Memory:
    """Before any mask has been sent: θ_g = θ₀ everywhere."""
    theta = to_fixed(np.full(d, config.theta_init))
    return Memory(theta, np.zeros(d, np.int32), 0, head)


def noise(config: RunConfig, round: int, client: int) -> PublicNoise:
    """u of a client in a round: one for all clients (`shared`, the paper) or one for each."""
    return PublicNoise(config.seed, round, client if config.noise == "per_client" else None)


def has_public_masks(config: RunConfig) -> bool:
    """Do clients draw their masks from public randomness? Then Σ m_g,k is known to all; else only its mean is."""
    return config.method in PUBLIC


def expected(config: RunConfig, theta: Theta, round: int, clients: Sequence[int]) -> aggregation.Counts:
    """What anyone can say of Σ_k m_k before a payload has come: Σ_k m_g,k (public masks), or the likeliest count."""
    if not has_public_masks(config):
        if config.method == "fedmask":  # thresholded masks
            return len(clients) * (theta > ONE // 2).astype(np.int32)
        return np.rint(len(clients) * (theta.astype(np.float64) / ONE)).astype(np.int32)
    total = np.zeros(len(theta), np.int32)
    for client in clients:
        total += masks.sample(theta, noise(config, round, client).words(0, len(theta)))
    return total


def fold(config: RunConfig, memory: Memory, round: int, change: Change) -> Memory:
    """Step 9, at the server and at every client alike: what a round's masks make of θ_g. No mask: θ_g stays."""
    received = change.received.tolist()
    if not received:
        if aggregation.reset_priors(round, config.rho):
            return replace(memory, ones=np.zeros_like(memory.ones), seen=0)
        return memory
    if config.aggregation == "unbiased" and config.method == "deltamask":
        theta = aggregation.unbiased(memory.theta, change.values, len(received), config.server_lr)
        return Memory(theta, memory.ones, memory.seen, memory.head)
    ones = expected(config, memory.theta, round, received) + change.values
    if ones.min(initial=0) < 0 or ones.max(initial=0) > len(received):
        raise DecodeError(f"{len(received)} masks cannot have between {ones.min()} and {ones.max()} ones")
    seen = len(received)
    if not aggregation.reset_priors(round, config.rho):
        ones, seen = ones + memory.ones, seen + memory.seen
    theta = aggregation.thresholded(ones, seen) if config.method == "fedmask" else aggregation.beta(ones, seen)
    return Memory(theta, ones, seen, memory.head)


def encode_change(config: RunConfig, before: Memory, round: int, change: Change) -> bytes:
    """The message that opens round `round`: what round − 1 changed. `before`: what its receiver holds."""
    d = len(before.theta)
    cells, number = _cells(config, before.theta, round - 1, change.received.tolist())
    coded = counts.encode(change.values, len(change.received), cells, number) if len(change.received) else b""
    body = FIELDS.pack(len(change.received)) + change.received.astype("<u4").tobytes() + coded
    return seal("counts", round, SERVER, d, body)


def decode_change(config: RunConfig, before: Memory, round: int, message: bytes) -> Change:
    """The other way. Raises DecodeError."""
    d = len(before.theta)
    body = unseal(message, "counts", round, SERVER, d)
    if len(body) < FIELDS.size:
        raise DecodeError(f"body of {len(body)} bytes is shorter than its fields, {FIELDS.size}")
    (number,) = FIELDS.unpack_from(body)
    start = FIELDS.size + 4 * number
    if number > config.clients_per_round or len(body) < start:
        raise DecodeError(f"{number} clients received, of {config.clients_per_round}, in a body of {len(body)} bytes")
    received = np.frombuffer(body[FIELDS.size : start], "<u4").astype(np.uint32)
    if (np.diff(received.astype(np.int64)) <= 0).any() or (number and received[-1] >= config.clients):
        raise DecodeError("the received clients are not in ascending order, or beyond the last one")
    if not number:
        if len(body) > start:
            raise DecodeError("no client was received, and yet something changed")
        return Change(np.zeros(d, np.int32), received)
    cells, kinds = _cells(config, before.theta, round - 1, received.tolist())
    return Change(counts.decode(body[start:], d, number, cells, kinds), received)


def _cells(config: RunConfig, theta: Theta, round: int, clients: list[int]) -> tuple[counts.Cells, int]:
    """What is known of each position: how near the nearest client's u is to θ_g and on which side, or θ_g alone."""
    if not has_public_masks(config):
        return (lambda start, stop: theta[start:stop].astype(np.int64) * LEVELS // ONE), LEVELS
    sides = [CodecContext(round, client, theta, noise(config, round, client)) for client in clients]
    if config.noise == "shared":
        sides = sides[:1]

    def nearest(start: int, stop: int) -> npt.NDArray[np.uint16]:
        best = side_information.buckets(sides[0], start, stop)
        for other in sides[1:]:
            side_information.keep_nearer(best, side_information.buckets(other, start, stop))
        return best

    return nearest, side_information.BUCKETS


def encode_snapshot(memory: Memory, round: int) -> bytes:
    """All that a client needs that holds nothing: the head, θ_g, and the posterior's counts."""
    d = len(memory.theta)
    theta = seal("theta", round, SERVER, d, counts.encode_tabled(memory.theta))
    ones = seal("ones", round, SERVER, d, counts.encode_tabled(memory.ones) if memory.seen else b"")
    seen = memory.seen.to_bytes(8, "little")
    return dense.pack(dense.encode_dense32(memory.head, round, SERVER), theta, ones, seen)


def decode_snapshot(message: bytes, d: int, head_size: int, round: int) -> Memory:
    """The other way. Raises DecodeError."""
    head, theta, ones, seen_bytes = dense.unpack(message, 4)
    values = counts.decode_tabled(unseal(theta, "theta", round, SERVER, d), d)
    if values.min(initial=THETA_MIN) < THETA_MIN or values.max(initial=THETA_MAX) > THETA_MAX:
        raise DecodeError(f"theta leaves [{THETA_MIN}, {THETA_MAX}]")
    seen = int.from_bytes(seen_bytes, "little")
    body = unseal(ones, "ones", round, SERVER, d)
    total = counts.decode_tabled(body, d).astype(np.int32) if seen else np.zeros(d, np.int32)
    if len(seen_bytes) != 8 or (len(body) and not seen) or total.max(initial=0) > seen:
        raise DecodeError(f"counts of ones do not fit {seen} masks")
    return Memory(values.astype(np.uint16), total, seen, dense.decode_dense32(head, head_size, round, SERVER))


def broadcast(config: RunConfig, before: Memory, now: Memory, round: int, change: Change) -> bytes:
    """The message that opens a round. `before`: what the last one left; `now`: what this one is to leave.

    `counts`: round 1 brings the head, every later one what changed. `fp32`: θ_g and the head, whole, each time.
    """
    if config.downlink == "fp32":
        theta = updates["fp32"].encode(masks.to_float(now.theta), UpdateContext(config.seed, round, SERVER))
        return dense.pack(theta, dense.encode_dense32(now.head, round, SERVER))
    if round == 1:
        return dense.encode_dense32(now.head, round, SERVER)
    return encode_change(config, before, round, change)


def receive(config: RunConfig, d: int, head_size: int, round: int, message: bytes, memory: Memory | None) -> Memory:
    """What a client holds after a round's message. memory: what the round before left it with; None: nothing, and then
    `message` is the first round's, or a snapshot. Raises DecodeError."""
    if config.downlink == "fp32":
        theta, head = dense.unpack(message, 2)
        values = updates["fp32"].decode(theta, d, UpdateContext(config.seed, round, SERVER))
        known = first(config, d, dense.decode_dense32(head, head_size, round, SERVER))
        return replace(known, theta=to_fixed(values))
    if memory is not None:
        return fold(config, memory, round - 1, decode_change(config, memory, round, message))
    if round == 1:
        return first(config, d, dense.decode_dense32(message, head_size, round, SERVER))
    return decode_snapshot(message, d, head_size, round)
