"""Our bytes inside Flower's records, and what server and node say of themselves.

A payload travels as one array of uint8. Flower writes an array in NumPy's own format, without pickle; we read that
header ourselves, so that a node cannot make the server allocate what it has not sent.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from io import BytesIO
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict

from deltamask.codecs import DecodeError
from deltamask.config import RunConfig
from deltamask.runs.folder import provenance
from deltamask.task.task import Task

PAYLOAD, SETTINGS, IDENTITY, REPORT, SHARD = "payload", "settings", "identity", "report", "shard"
Record = ArrayRecord | ConfigRecord | MetricRecord


def pack(payloads: Iterable[bytes]) -> ArrayRecord:
    """Each payload as an array of uint8."""
    return ArrayRecord(numpy_ndarrays=[np.frombuffer(payload, np.uint8) for payload in payloads])


def unpack(content: RecordDict, *, most: int | None = None, longest: int | None = None) -> list[bytes]:
    """The payloads of a message's content. Raises DecodeError, whatever the sender put there.

    most: payloads; longest: bytes of each. None: any number, as the server may send it.
    """
    record = content.array_records.get(PAYLOAD)
    if record is None:
        raise DecodeError(f"the message has no {PAYLOAD!r}")
    if most is not None and len(record) > most:
        raise DecodeError(f"the message holds {len(record)} payloads, expected {most}")
    return [_read(array, longest) for array in record.values()]


def _read(array: Array, longest: int | None) -> bytes:
    if longest is not None and len(array.data) > longest:
        raise DecodeError(f"the payload has {len(array.data):,} bytes, at most {longest:,} are read")
    stream = BytesIO(array.data)
    try:
        if array.stype != "numpy.ndarray" or np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError("not NumPy's format 1.0")
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    except Exception as error:  # the header is a literal of Python's: its parser has errors of many kinds
        raise DecodeError(f"the payload is no array of bytes ({str(error)[:100]})") from None
    body = array.data[stream.tell() :]
    if dtype != np.uint8 or shape != (len(body),):
        raise DecodeError(f"the payload is an array {dtype}{shape} in {len(body)} bytes, expected uint8({len(body)},)")
    return body


@dataclass(frozen=True)
class Identity:
    """What must be equal on both sides before any figure can be trusted."""

    version: str
    backbone: str
    d: int
    head_size: int

    @classmethod
    def of(cls, config: RunConfig, task: Task) -> Identity:
        """From what is really loaded: the weights by their content, not by their name."""
        digest = hashlib.sha256(task.tail.weights.numpy().tobytes()).hexdigest()[:16]
        version = provenance()["deltamask"] or "unknown"
        return cls(version, f"{config.backbone} (weights {digest})", task.d, task.head_size)

    @classmethod
    def read(cls, content: RecordDict) -> Identity:
        """What the sender says it has. Raises DecodeError."""
        record = content.config_records.get(IDENTITY)
        if record is None:
            raise DecodeError("the message does not say who sent it")
        values = {field.name: record.get(field.name) for field in fields(cls)}
        if not all(type(value) is type_ for value, type_ in zip(values.values(), (str, str, int, int), strict=True)):
            raise DecodeError(f"the sender's identity is malformed: {repr(values)[:200]}")
        return cls(**values)  # type: ignore[arg-type]

    def record(self) -> ConfigRecord:
        return ConfigRecord(asdict(self))

    def refuses(self, other: Identity) -> str | None:
        """Why a peer cannot take part, or None if it can."""
        words = {"version": "deltamask", "backbone": "backbone", "d": "d =", "head_size": "a head of size"}
        for name, word in words.items():
            found, expected = getattr(other, name), getattr(self, name)
            if found != expected:
                return f"it has {word} {str(found)[:200]}, here {word} {expected}"
        return None


def finite(values: dict[str, float | int | None]) -> dict[str, Any]:
    """Those that a record can hold: what is unknown or not finite is left out."""
    return {name: value for name, value in values.items() if value is not None and math.isfinite(value)}
