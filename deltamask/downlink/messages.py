"""The downlink of the mask methods: θ_g sent as what it is, small integer counts, given what the client already has.

Every message says what changed since the one before: the sum over the received clients of their mask's difference from
what both sides can expect. A client keeps what the messages left it (`ThetaMemory`), aggregates as the server does, and
so holds the server's θ_g bit for bit. One that missed rounds gets all it missed, or a snapshot where that is shorter.
How a method draws its masks, and what its server makes of them, is its `MaskLaw`. Needs no torch.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
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
register_kind("counts", 65)  # 64 was θ_g in 16 bits a parameter
register_kind("theta", 66)
register_kind("ones", 67)
LEVELS = 256  # of θ_g, as a context where there is no public randomness


@dataclass(frozen=True)
class MaskLaw:
    """How a method draws its masks, and what its server makes of those that came.

    public: masks are drawn from the public u, so that everyone knows every m_g,k. likeliest: of private masks, the
    likeliest Σ m_k (d,) of a number of clients, given θ_g. posterior: θ_g given (d,) ones out of `seen` masks.
    unbiased: the server follows RunConfig's `aggregation`; else it takes the posterior, whatever that says. damped:
    the posterior is smoothed, and the server goes towards it by RunConfig's `server_lr`.
    """

    public: bool
    likeliest: Callable[[Theta, int], aggregation.Counts] = aggregation.likeliest
    posterior: Callable[[aggregation.Counts, int], Theta] = aggregation.beta
    unbiased: bool = False
    damped: bool = False


@dataclass(frozen=True)
class ThetaMemory:
    """What server and client both know of θ_g: theta (d,); ones (d,) out of `seen` masks since the priors' last reset.

    head: the classifier.
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


def first(config: RunConfig, d: int, head: Head) -> ThetaMemory:
    """Before any mask has been sent: θ_g = θ₀ everywhere."""
    theta = to_fixed(np.full(d, config.theta_init))
    return ThetaMemory(theta, np.zeros(d, np.int32), 0, head)


def noise(config: RunConfig, round: int, client: int) -> PublicNoise:
    """u of a client in a round: one for all clients (`shared`, the paper) or one for each."""
    return PublicNoise(config.seed, round, client if config.noise == "per_client" else None)


def expected(law: MaskLaw, config: RunConfig, theta: Theta, round: int, clients: Sequence[int]) -> aggregation.Counts:
    """What both sides can say of Σ_k m_k before a payload has come: Σ_k m_g,k of public masks, else the likeliest."""
    if not law.public:
        return law.likeliest(theta, len(clients))
    total = np.zeros(len(theta), np.int32)
    for client in clients:
        total += masks.sample(theta, noise(config, round, client).words(0, len(theta)))
    return total


def aggregate(law: MaskLaw, config: RunConfig, memory: ThetaMemory, round: int, change: Change) -> ThetaMemory:
    """Step 9, at the server and at every client alike: what a round's masks make of θ_g. No mask: θ_g stays."""
    received = change.received.tolist()
    if not received:
        if aggregation.reset_priors(round, config.rho):
            return replace(memory, ones=np.zeros_like(memory.ones), seen=0)
        return memory
    if law.unbiased and config.aggregation == "unbiased":
        theta = aggregation.unbiased(memory.theta, change.values, len(received), config.server_lr)
        return ThetaMemory(theta, memory.ones, memory.seen, memory.head)
    ones = expected(law, config, memory.theta, round, received) + change.values
    if ones.min(initial=0) < 0 or ones.max(initial=0) > len(received):
        raise DecodeError(f"{len(received)} masks cannot have between {ones.min()} and {ones.max()} ones")
    seen = len(received)
    if not aggregation.reset_priors(round, config.rho):
        ones, seen = ones + memory.ones, seen + memory.seen
    theta = law.posterior(ones, seen)
    if law.damped:
        theta = aggregation.damped(memory.theta, aggregation.smoothed(theta, config.smoothing), config.server_lr)
    return ThetaMemory(theta, ones, seen, memory.head)


def encode_change(law: MaskLaw, config: RunConfig, before: ThetaMemory, round: int, change: Change) -> bytes:
    """The message that opens round `round`: what round − 1 changed. `before`: what its receiver holds."""
    d = len(before.theta)
    cells, number = _cells(law, config, before.theta, round - 1, change.received.tolist())
    coded = counts.encode(change.values, len(change.received), cells, number) if len(change.received) else b""
    body = FIELDS.pack(len(change.received)) + change.received.astype("<u4").tobytes() + coded
    return seal("counts", round, SERVER, d, body)


def decode_change(law: MaskLaw, config: RunConfig, before: ThetaMemory, round: int, message: bytes) -> Change:
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
    cells, kinds = _cells(law, config, before.theta, round - 1, received.tolist())
    return Change(counts.decode(body[start:], d, number, cells, kinds), received)


def _cells(law: MaskLaw, config: RunConfig, theta: Theta, round: int, clients: list[int]) -> tuple[counts.Cells, int]:
    """What is known of each position: how near the nearest client's u is to θ_g and on which side, or θ_g alone."""
    if not law.public:
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


def encode_snapshot(memory: ThetaMemory, round: int) -> bytes:
    """All that a client needs that holds nothing: the head, θ_g, and the posterior's counts."""
    d = len(memory.theta)
    theta = seal("theta", round, SERVER, d, counts.encode_tabled(memory.theta))
    ones = seal("ones", round, SERVER, d, counts.encode_tabled(memory.ones) if memory.seen else b"")
    seen = memory.seen.to_bytes(8, "little")
    return dense.pack(dense.encode_dense32(memory.head, round, SERVER), theta, ones, seen)


def decode_snapshot(message: bytes, d: int, head_size: int, round: int) -> ThetaMemory:
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
    return ThetaMemory(values.astype(np.uint16), total, seen, dense.decode_dense32(head, head_size, round, SERVER))


def broadcast(
    law: MaskLaw, config: RunConfig, before: ThetaMemory, now: ThetaMemory, round: int, change: Change
) -> bytes:
    """The message that opens a round. `before`: what the last one left; `now`: what this one is to leave.

    `counts`: round 1 brings the head, every later one what changed. `fp32`: θ_g and the head, whole, each time.
    """
    if config.downlink == "fp32":
        theta = updates["fp32"].encode(masks.to_float(now.theta), UpdateContext(config.seed, round, SERVER))
        return dense.pack(theta, dense.encode_dense32(now.head, round, SERVER))
    if round == 1:
        return dense.encode_dense32(now.head, round, SERVER)
    return encode_change(law, config, before, round, change)


def receive(
    law: MaskLaw, config: RunConfig, d: int, head_size: int, round: int, message: bytes, memory: ThetaMemory | None
) -> ThetaMemory:
    """What a client holds after a round's message. memory: what the round before left it with; None: nothing, and then
    `message` is the first round's, or a snapshot. Raises DecodeError."""
    if config.downlink == "fp32":
        theta, head = dense.unpack(message, 2)
        values = updates["fp32"].decode(theta, d, UpdateContext(config.seed, round, SERVER))
        start = first(config, d, dense.decode_dense32(head, head_size, round, SERVER))
        return replace(start, theta=to_fixed(values))
    if memory is not None:
        return aggregate(law, config, memory, round - 1, decode_change(law, config, memory, round, message))
    if round == 1:
        return first(config, d, dense.decode_dense32(message, head_size, round, SERVER))
    return decode_snapshot(message, d, head_size, round)
