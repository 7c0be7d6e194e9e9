"""The one validator of what nodes send. A field that cannot be true is a DecodeError, and costs its sender the round.

Nothing here trusts a type, a length or a number: a record may hold anything that Flower can carry.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeVar

from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict

from deltamask.codecs import DecodeError
from deltamask.methods.base import ClientReport, Upload
from deltamask_flower import wire

LONGEST_TEXT = 2000  # characters of a node's words that are kept
BYTES_PER_PARAMETER = 16  # no codec of ours needs a third of it
SMALLEST_LIMIT = 1 << 16  # bytes that any payload may have
MOST_SAMPLES = 2**31
WEEK = 7 * 86_400.0  # seconds
REALS = {  # the figures of a report that are no counts, and their ranges
    "loss": (-1e9, 1e9), "entropy_iid": (0, 64), "entropy_side": (0, 64), "seconds_train": (0, WEEK),
    "seconds_encode": (0, WEEK),
}  # fmt: skip
PNG = b"\x89PNG"
Kind = TypeVar("Kind", ConfigRecord, MetricRecord)


@dataclass(frozen=True)
class Limits:
    """What a payload and a report can be. d, head_size: of the task."""

    d: int
    head_size: int

    @property
    def payload_bytes(self) -> int:
        """The longest payload that is decoded."""
        return SMALLEST_LIMIT + BYTES_PER_PARAMETER * (self.d + self.head_size)


@dataclass(frozen=True)
class Holding:
    """What a node says of its data. have: the last round whose broadcast it has read."""

    client: int
    have: int
    label_counts: list[int]


def cut(text: object) -> str:
    """A stranger's text on one line, of LONGEST_TEXT characters at most, without anything that a terminal obeys."""
    words = str(text)
    shown = words[: LONGEST_TEXT - 1] + "…" if len(words) > LONGEST_TEXT else words
    return "".join(letter if letter.isprintable() else " " for letter in shown)


def whole(value: Any, name: str, most: int) -> int:
    """A count in [0, most]. DecodeError."""
    if type(value) is not int or not 0 <= value <= most:
        raise DecodeError(f"{name} = {value!r}"[:100] + f", expected a whole number from 0 to {most}")
    return value


def real(value: Any, name: str, low: float, high: float) -> float:
    """A finite number in [low, high]. DecodeError."""
    if type(value) not in (int, float) or not math.isfinite(value) or not low <= value <= high:
        raise DecodeError(f"{name} = {value!r}"[:100] + f", expected a number from {low:g} to {high:g}")
    return float(value)


def _record(content: RecordDict, name: str, kind: type[Kind]) -> Kind:
    """A record of the content; an empty one where there is none. DecodeError if it is of another kind."""
    found = content.get(name)
    if found is not None and not isinstance(found, kind):
        raise DecodeError(f"{name!r} is a {type(found).__name__}, expected a {kind.__name__}")
    return kind() if found is None else found


def read_holding(reply: Message, clients: int, classes: int, most_samples: int) -> Holding:
    """A node's answer to `hello`. DecodeError."""
    shard = _record(reply.content, wire.SHARD, ConfigRecord)
    client = whole(shard.get("client"), "client", clients - 1)
    counts = shard.get("label_counts")
    if not isinstance(counts, list) or len(counts) != classes:
        raise DecodeError(f"label_counts of client {client} are no list of {classes} counts")
    label_counts = [whole(count, "label_counts", most_samples) for count in counts]
    if not any(label_counts):
        raise DecodeError(f"client {client} says it holds no samples")
    if sum(label_counts) > most_samples:
        raise DecodeError(
            f"client {client} says it holds {sum(label_counts)} samples, the whole run has {most_samples}"
        )
    return Holding(client, whole(shard.get("have"), "have", MOST_SAMPLES), label_counts)


def read_have(reply: Message) -> int | None:
    """The last round whose broadcast the node has read; None where it does not say. DecodeError."""
    have = _record(reply.content, wire.SHARD, ConfigRecord).get("have")
    return None if have is None else whole(have, "have", MOST_SAMPLES)


def read_upload(reply: Message, limits: Limits) -> Upload | str:
    """A node's answer to a round: its upload, or its words why there is none. DecodeError."""
    lost = _record(reply.content, wire.SETTINGS, ConfigRecord).get("lost")
    if lost is not None:
        return cut(lost)
    payloads = wire.unpack(reply.content, most=1, longest=limits.payload_bytes)
    if len(payloads) != 1:
        raise DecodeError(f"the reply holds {len(payloads)} payloads, expected 1")
    suffix = ".png" if payloads[0].startswith(PNG) else ".bin"  # by what it is, not by what its sender calls it
    report = read_report(_record(reply.content, wire.REPORT, MetricRecord), limits)
    return Upload(payloads[0], suffix, report)


def read_report(record: MetricRecord, limits: Limits) -> ClientReport:
    """What a node says of its own work. Fields that it leaves out are unknown. DecodeError."""
    counts = {name: whole(record[name], name, limits.d) for name in ("flips", "kept") if name in record}
    reals = {name: real(record[name], name, *bounds) for name, bounds in REALS.items() if name in record}
    seconds = {stage: reals[f"seconds_{stage}"] for stage in ("train", "encode") if f"seconds_{stage}" in reals}
    return ClientReport(
        loss=reals.get("loss"), seconds=seconds, flips=counts.get("flips"), kept=counts.get("kept"),
        entropy_iid=reals.get("entropy_iid"), entropy_side=reals.get("entropy_side"),
    )  # fmt: skip
