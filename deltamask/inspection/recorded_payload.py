"""What a run folder tells of one payload: where its layers lie, what both sides knew, what was flipped, sent and read.

A folder may come from anywhere: whatever is in it, the only exceptions are DecodeError and StoreError. Needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from deltamask.codecs import CodecContext, DecodeError, codecs
from deltamask.config import RunConfig
from deltamask.inspection.replay import theta_before
from deltamask.masking.masks import Positions, Theta
from deltamask.masking.noise import PublicNoise
from deltamask.methods import methods
from deltamask.runs import StoreError, client_flips
from deltamask.runs.reader import Payload, Run

MAX_D = 50_000_000  # a viewer asks every position; a folder that promises more is not looked at
MAX_FILE = 1 << 28  # bytes


@dataclass(frozen=True)
class Layer:
    """A masked layer: positions [start, stop) of the flat vector. shape: of its weights."""

    name: str
    start: int
    stop: int
    shape: tuple[int, ...]


def layers_of(run: Run) -> list[Layer]:
    """The run's layers, which cover [0, d) in order. StoreError if task.json is missing or says something else."""
    task = run.task
    try:
        layers = [Layer(str(one["name"]), one["start"], one["stop"], tuple(one["shape"])) for one in task["layers"]]
        numbers = [task["d"], *(n for one in layers for n in (one.start, one.stop, *one.shape))]
        if not all(type(number) is int and 0 <= number <= MAX_D for number in numbers):
            raise ValueError(f"sizes must be whole numbers up to {MAX_D:,}")
        bounds = [0, *(one.stop for one in layers)]
        if [one.start for one in layers] != bounds[:-1] or bounds[-1] != task["d"] or task["d"] == 0:
            raise ValueError("layers do not cover the flat vector")
        if any(math.prod(one.shape) != one.stop - one.start for one in layers):
            raise ValueError("a layer's shape does not fit its size")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise StoreError(f"{run.path / 'task.json'} is missing or damaged ({error})") from None
    return layers


def public_noise(config: RunConfig, round: int, client: int) -> PublicNoise:
    """The client's u: one for all clients (`shared`, the paper) or one for each."""
    return PublicNoise(config.seed, round, client if config.noise == "per_client" else None)


class RecordedContext(CodecContext):
    """What both sides knew of one payload. θ_g is rebuilt when a codec first asks for it, which most never do.

    Reading `theta` raises StoreError where θ_g cannot be rebuilt.
    """

    def __init__(self, run: Run, layers: list[Layer], round: int, client: int) -> None:
        bounds = (*(layer.start for layer in layers), layers[-1].stop)
        known = {"round": round, "client": client, "noise": public_noise(run.config, round, client), "layers": bounds}
        vars(self).update(known, _run=run)

    @property
    def d(self) -> int:
        return self.layers[-1]

    @cached_property
    def theta(self) -> Theta:
        theta = theta_before(vars(self)["_run"], self.round)
        if len(theta) != self.d:
            raise StoreError(f"the rebuilt θ_g has {len(theta):,} positions, task.json says {self.d:,}")
        return theta


@dataclass(frozen=True)
class Flips:
    """The flips of one payload. decoded: Δ̂, as a server reads them. delta, sent: Δ and Δ′, if the run kept them."""

    decoded: Positions
    delta: Positions | None = None
    sent: Positions | None = None

    @property
    def false(self) -> Positions | None:
        """Decoded, though nobody sent them."""
        return None if self.sent is None else np.setdiff1d(self.decoded, self.sent, assume_unique=True)

    @property
    def held_back(self) -> Positions | None:
        """Real flips that κ did not let through."""
        return (
            None if self.delta is None or self.sent is None else np.setdiff1d(self.delta, self.sent, assume_unique=True)
        )


def read_payload(payload: Payload) -> bytes:
    """The bytes. StoreError if the file is gone or too large to look at."""
    try:
        size = payload.path.stat().st_size
        if size > MAX_FILE:
            raise StoreError(f"{payload.path.name} has {size:,} bytes: too large to look at")
        return payload.path.read_bytes()
    except OSError as error:
        raise StoreError(f"{payload.path.name} cannot be read: {error.strerror}") from None


def carries_flips(config: RunConfig, round: int) -> bool:
    """Does a payload of this round carry flips?"""
    return methods[config.method].flip_codec is not None and round > 0


def decode(config: RunConfig, payload: bytes, context: CodecContext) -> Positions:
    """Δ̂: what the server reads. Raises DecodeError, and StoreError where the codec needs a θ_g that is gone."""
    name = methods[config.method].flip_codec
    assert name is not None
    return codecs[name(config)].decode(payload, context)


def flips_of(run: Run, payload: Payload, data: bytes, context: CodecContext) -> Flips:
    """All that is known of a payload's flips. Raises DecodeError; a damaged sidecar counts as none."""
    decoded = decode(run.config, data, context)
    try:
        known = payload.path.with_suffix(client_flips.SUFFIX).read_bytes()
        delta, sent = client_flips.unpack(known, context.d, payload.round, payload.client)
    except (OSError, DecodeError):
        return Flips(decoded)
    return Flips(decoded, delta, sent)


def client_lines(run: Run) -> Iterator[tuple[int, dict[str, Any]]]:
    """(round, line) of every client in the run's records; what is no such line is passed over."""
    for record in run.records:
        clients = record.get("clients")
        for line in clients if isinstance(clients, list) else ():
            if isinstance(line, dict) and type(line.get("client")) is int and type(record["round"]) is int:
                yield record["round"], line


def client_record(run: Run, round: int, client: int) -> dict[str, Any]:
    """The client's line in the record of a round; empty if there is none."""
    return next((line for at, line in client_lines(run) if (at, line["client"]) == (round, client)), {})


def missing_payload(run: Run, upto: int) -> str | None:
    """Why the rounds 0 … upto cannot be played again: the first payload sent, but not kept. None if all were."""
    kept = {(payload.round, payload.client) for payload in run.payloads()}
    for round, line in client_lines(run):
        if round <= upto and line.get("uplink_bytes") and (round, line["client"]) not in kept:
            return (
                f"client {line['client']}'s payload of round {round} was not kept; keep_payloads = all keeps every one"
            )
    return None
