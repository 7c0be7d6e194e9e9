"""What a run folder says about one payload: layers, context of both sides, and the flips that were sent and decoded.

A folder may come from anywhere: whatever is in it, the only exceptions are DecodeError and StoreError. Needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from deltamask import downlink
from deltamask.codecs import Codec, CodecContext, DecodeError, codecs
from deltamask.config import RunConfig
from deltamask.inspection.anatomy import Anatomy, take_apart
from deltamask.inspection.part_costs import pixel_bits
from deltamask.inspection.replay import theta_before
from deltamask.masking.layers import Layer
from deltamask.masking.masks import Positions, Theta
from deltamask.methods import methods
from deltamask.methods.refit import update_in
from deltamask.runs import StoreError, client_flips, payloads
from deltamask.runs.payloads import Payload
from deltamask.runs.reader import Run
from deltamask.simulation.ledger import bits_per_parameter

MAX_D = 50_000_000  # decoding asks every position; a folder that claims more is refused

FlipState = Literal["sent", "false", "held back", "unchanged", "decoded", "not decoded"]
"""What became of a position. "decoded" stands for true and false flips where the run kept no record of the client's."""


@dataclass(frozen=True)
class Flips:
    """The flips of one payload. decoded: Δ̂, as a server reads them. delta, sent: Δ and Δ′, if the run kept them."""

    decoded: Positions
    delta: Positions | None = None
    sent: Positions | None = None

    @property
    def false(self) -> Positions | None:
        """Decoded but not sent."""
        return None if self.sent is None else np.setdiff1d(self.decoded, self.sent, assume_unique=True)

    @property
    def held_back(self) -> Positions | None:
        """Flipped by the client, but not sent because of κ."""
        if self.delta is None or self.sent is None:
            return None
        return np.setdiff1d(self.delta, self.sent, assume_unique=True)

    @property
    def best_known(self) -> Positions:
        """The flips that were sent; those decoded where the run kept no record of them."""
        return self.decoded if self.sent is None else self.sent

    def state(self, position: int) -> FlipState:
        """What became of one position."""
        decoded = contains(self.decoded, position)
        if self.sent is None or self.delta is None:
            return "decoded" if decoded else "not decoded"
        if contains(self.sent, position):
            return "sent"
        if decoded:
            return "false"
        return "held back" if contains(self.delta, position) else "unchanged"

    def group(self, positions: Positions) -> dict[FlipState, Positions]:
        """Sorted `positions` by what the server makes of them: sent, false (or decoded), and not decoded."""
        rest = np.setdiff1d(positions, self.decoded, assume_unique=True)
        read = np.intersect1d(positions, self.decoded, assume_unique=True)
        if self.sent is None:
            return {"decoded": read, "not decoded": rest}
        sent = np.intersect1d(read, self.sent, assume_unique=True)
        return {"sent": sent, "false": np.setdiff1d(read, sent, assume_unique=True), "not decoded": rest}


def contains(positions: Positions, position: int) -> bool:
    """Is `position` among the sorted `positions`?"""
    index = int(np.searchsorted(positions, position))
    return index < len(positions) and int(positions[index]) == position


class RecordedContext(CodecContext):
    """What both sides knew of one payload. θ_g is rebuilt when a codec first asks for it, which most never do.

    Reading `theta` raises StoreError where θ_g cannot be rebuilt.
    """

    def __init__(self, run: Run, layers: list[Layer], round: int, client: int) -> None:
        bounds = (*(layer.start for layer in layers), layers[-1].stop)
        noise = downlink.noise(run.config, round, client)
        # The base class is frozen, and its `theta` is left out: the property below takes its place.
        vars(self).update(round=round, client=client, noise=noise, layers=bounds, _run=run)

    @property
    def d(self) -> int:
        return self.layers[-1]

    @cached_property
    def theta(self) -> Theta:
        theta = theta_before(vars(self)["_run"], self.round)
        if len(theta) != self.d:
            raise StoreError(f"the rebuilt θ_g has {len(theta):,} positions, task.json says {self.d:,}")
        return theta


class MaskBit(NamedTuple):
    """One position's mask bit. u, theta: 16-bit fixed point. global_bit: of m_g. decoded_bit: of m̂_k at the server."""

    u: int
    theta: int
    global_bit: int
    decoded_bit: int


@dataclass(frozen=True)
class RecordedPayload:
    """A payload of a run folder, read, taken apart and decoded.

    flips: None where the payload carries none or they cannot be decoded; `no_flips` then says why. pixel_bits: what
    each pixel takes in the file.
    """

    run: Run
    payload: Payload
    data: bytes
    layers: list[Layer]
    context: RecordedContext
    anatomy: Anatomy
    pixel_bits: npt.NDArray[np.float64]
    flips: Flips | None
    no_flips: str | None

    @property
    def bpp(self) -> float:
        return bits_per_parameter(len(self.data), self.context.d)

    def layer_of(self, position: int) -> tuple[Layer, tuple[int, ...]]:
        """(the layer that holds a position, the position's index in the layer's weights)."""
        layer = next(layer for layer in self.layers if layer.start <= position < layer.stop)
        return layer, tuple(int(index) for index in np.unravel_index(position - layer.start, layer.shape))

    def u(self, position: int) -> int:
        """The client's public randomness at a position, 16-bit fixed point."""
        return int(self.context.noise.words(position, position + 1)[0])

    def mask_bit(self, position: int) -> MaskBit:
        """The position's bit before and after decoding. StoreError where θ_g cannot be rebuilt."""
        assert self.flips is not None
        u, theta = self.u(position), int(self.context.theta[position])
        bit = int(u < theta)
        return MaskBit(u, theta, bit, bit ^ int(contains(self.flips.decoded, position)))


def open_payload(run: Run, payload: Payload) -> RecordedPayload:
    """Read, take apart and decode a payload of `run`. Raises DecodeError or StoreError."""
    layers = layers_of(run)
    context = RecordedContext(run, layers, payload.round, payload.client)
    data = update_of(run, payload)
    anatomy = take_apart(data, context)
    flips, no_flips = None, None
    if carries_flips(run.config, payload.round):
        try:
            flips = flips_of(run, payload, data, context)
        except StoreError as error:
            no_flips = str(error)
    else:
        no_flips = "The head is sent, not flips." if payload.round == 0 else f"{run.config.method} sends no flips."
    return RecordedPayload(run, payload, data, layers, context, anatomy, pixel_bits(anatomy), flips, no_flips)


def update_of(run: Run, payload: Payload) -> bytes:
    """The update in a kept payload, without statistics of the head that travelled with it.

    StoreError where the client sent nothing else; DecodeError where it cannot be read.
    """
    update = update_in(run.config, payload.round, payload.read())
    if not update:
        raise StoreError(f"client {payload.client} did not train in round {payload.round}: it sent statistics alone")
    return update


def layers_of(run: Run) -> list[Layer]:
    """The run's layers, which cover [0, d) in order. StoreError if task.json is missing or says something else."""
    task = run.task
    try:
        layers = [
            Layer(str(entry["name"]), entry["start"], entry["stop"], tuple(entry["shape"])) for entry in task["layers"]
        ]
        numbers = [task["d"], *(n for layer in layers for n in (layer.start, layer.stop, *layer.shape))]
        if not all(type(number) is int and 0 <= number <= MAX_D for number in numbers):
            raise ValueError(f"sizes must be whole numbers up to {MAX_D:,}")
        bounds = [0, *(layer.stop for layer in layers)]
        if [layer.start for layer in layers] != bounds[:-1] or bounds[-1] != task["d"] or task["d"] == 0:
            raise ValueError("layers do not cover the flat vector")
        if any(math.prod(layer.shape) != layer.stop - layer.start for layer in layers):
            raise ValueError("a layer's shape does not fit its size")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise StoreError(f"{run.path / 'task.json'} is missing or damaged ({error})") from None
    return layers


def flip_codec(config: RunConfig) -> Codec | None:
    """The codec of a run's flips; None for a method that sends none."""
    name_of = methods[config.method].flip_codec
    return None if name_of is None else codecs[name_of(config)]


def carries_flips(config: RunConfig, round: int) -> bool:
    """Does a payload of this round carry flips?"""
    return flip_codec(config) is not None and round > 0


def decode(config: RunConfig, payload: bytes, context: CodecContext) -> Positions:
    """Δ̂: what the server decodes. Raises DecodeError, and StoreError where the codec needs a θ_g that is gone."""
    codec = flip_codec(config)
    assert codec is not None
    return codec.decode(payload, context)


def flips_of(run: Run, payload: Payload, data: bytes, context: CodecContext) -> Flips:
    """A payload's flips. Raises DecodeError. A damaged file of the client's flips counts as a missing one."""
    decoded = decode(run.config, data, context)
    try:
        stored = payloads.side_file(run.path, payload.round, payload.client)
        if stored is None:
            return Flips(decoded)
        delta, sent = client_flips.unpack(stored, decoded, context.d, payload.round, payload.client)
    except (StoreError, DecodeError):
        return Flips(decoded)
    return Flips(decoded, delta, sent)


def client_lines(run: Run) -> Iterator[tuple[int, dict[str, Any]]]:
    """(round, line) of every client in the run's records. Entries that are no such line are left out."""
    for record in run.records:
        clients = record.get("clients")
        for line in clients if isinstance(clients, list) else ():
            if isinstance(line, dict) and type(line.get("client")) is int and type(record["round"]) is int:
                yield record["round"], line


def client_record(run: Run, round: int, client: int) -> dict[str, Any]:
    """The client's line in the record of a round; empty if there is none."""
    return next((line for at, line in client_lines(run) if (at, line["client"]) == (round, client)), {})


def missing_payload(run: Run, upto: int) -> str | None:
    """Why the rounds 0 … upto cannot be repeated: the first payload sent, but not kept. None if all were kept."""
    kept = {(payload.round, payload.client) for payload in run.payloads()}
    for round, line in client_lines(run):
        if round <= upto and line.get("uplink_bytes") and (round, line["client"]) not in kept:
            return (
                f"client {line['client']}'s payload of round {round} was not kept; keep_payloads = all keeps every one"
            )
    return None
