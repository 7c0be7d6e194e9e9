"""RoundRecord: what is known of a round. Names are stable; notebooks, the page and users' scripts read them.

It is the only schema of a record: what the simulation writes, what a run folder from anywhere is read with, and what
the studies' tables take their columns from.
"""

from __future__ import annotations

import base64
import binascii
import math
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, TypeAdapter, ValidationError

MAX_TEXT = 2000  # characters of a reason
LAST = 10  # accuracies are means over this many last rounds: one round's figure is noisy
MAX_IMAGES = 100_000  # of a test set whose hits are recorded

Count = Annotated[int, Field(ge=0, le=10**14)]  # so that the sums over a run's rounds stay whole numbers of 64 bits
Share = Annotated[float, Field(ge=-1e-6, le=1 + 1e-6)]  # sums of shares are rounded
Shares = Annotated[list[Share], Field(max_length=100_000)]  # one a client
Amount = Annotated[float, Field(ge=-1e-6, le=1e15)]
Value = Annotated[float, Field(ge=-1e30, le=1e30)]
Loss = Value
Reason = Annotated[str, Field(max_length=MAX_TEXT)]
Name = Annotated[str, Field(max_length=200)]


@dataclass(frozen=True)
class ClientRecord:
    """One sampled client in one round. accuracy: the new server model's, weighted with this client's label shares.

    flips: |Δ| before κ; kept: flips encoded; false_flips: positions the server flipped although nobody sent them.
    dropped: why the server could not use the payload, else None. Fields that a method does not have are None.
    """

    client: Annotated[int, Field(ge=0, lt=100_000)]
    samples: Count
    accuracy: Share
    loss: Loss | None = None
    uplink_bytes: Count = 0
    flips: Count | None = None
    kept: Count | None = None
    false_flips: Count | None = None
    dropped: Reason | None = None


@dataclass(frozen=True, kw_only=True)
class RoundRecord:
    """One round. Round 0 is the one that makes the head.

    accuracy, loss: of the server model on the test set, with the mean mask. accuracy_worst, accuracy_spread: the lowest
    accuracy for a client and its standard deviation over clients, of all N, sampled or not. uplink_bytes,
    downlink_bytes: sums over the sampled clients. bpp_up, bpp_down, and bpp_total, their sum: bits per parameter and
    client. broadcast_bytes: of the message that opened the round; a client that missed rounds was sent more. flips,
    kept, false_flips, entropy_iid, entropy_side (bits per parameter): means over clients. kept_by_layer: sums over
    clients of kept flips. skipped: why the server model stayed as it was, else None. theta_histogram: how many of the d
    probabilities lie in each twentieth of [0, 1]. seconds: by stage. head_temperature: of round 0, the factor in the
    logits of a head that was made from statistics.

    class_accuracy: of the server model by class, None for one without test images. client_accuracy: for each of the N
    clients, in their order, sampled or not; client_accuracy_adapted: the same when a client adds the logarithm of its
    own label shares to the logits, None for more than 1,000 clients (`training/evaluation.py` defines both). alone: of
    round 0, and only with RunConfig's `compare_alone`: the accuracy for each client of a model that it trains alone
    (`simulation/alone.py`). All four are rounded to four digits. hits: of the last ten rounds, which test images the
    server model gets right (`packed`), so that two runs can be compared image by image.

    metrics: own ones (`training/metrics.py`) of the server model on the test set by name, null for one that is not a
    finite number; None where none is registered.

    epsilon: ε that the run has spent up to and with this round, of the client that has spent most (`privacy/plan.py`);
    only with RunConfig's `dp`.

    A field with a default may be missing in records of earlier revisions. In a file, a loss that is not finite is null.
    """

    round: Annotated[int, Field(ge=0, le=10_000)]
    accuracy: Share
    accuracy_threshold: Share | None = None
    accuracy_sampled: Share | None = None
    accuracy_worst: Share | None = None
    accuracy_spread: Share | None = None
    loss: Loss | None
    uplink_bytes: Count
    downlink_bytes: Count
    bpp_up: Amount
    bpp_down: Amount
    bpp_total: Amount | None = None
    broadcast_bytes: Count | None = None
    flips: Amount | None = None
    kept: Amount | None = None
    false_flips: Amount | None = None
    entropy_iid: Amount | None = None
    entropy_side: Amount | None = None
    kept_by_layer: Annotated[dict[Name, Count], Field(max_length=10_000)] | None = None
    theta_histogram: Annotated[list[Count], Field(max_length=1000)] | None = None
    skipped: Reason | None = None
    clients: Annotated[list[ClientRecord], Field(max_length=100_000)]
    seconds: Annotated[dict[Name, Amount], Field(max_length=100)]
    head_temperature: Amount | None = None
    class_accuracy: Annotated[list[Share | None], Field(max_length=10_000)] | None = None
    client_accuracy: Shares | None = None
    client_accuracy_adapted: Shares | None = None
    alone: Shares | None = None
    metrics: Annotated[dict[Name, Value | None], Field(max_length=1000)] | None = None
    hits: Annotated[str, Field(max_length=MAX_IMAGES // 6 + 8)] | None = None
    epsilon: Amount | None = None

    def __repr__(self) -> str:
        return (
            f"<Round {self.round}: accuracy {self.accuracy:.4f}, {self.bpp_up:.4g} bpp up, {len(self.clients)} clients>"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values, for one line of `rounds.jsonl`. What is not finite (a diverged loss) becomes null, and a reason
        that is too long is cut."""
        plain: dict[str, Any] = _storable(asdict(self))
        return plain | {"hits": self.hits}


def _storable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else value[: MAX_TEXT - 2] + " …"
    return None if isinstance(value, float) and not math.isfinite(value) else value


class RecordError(ValueError):
    """A text is no record; the message says where it is wrong."""


_schema = TypeAdapter(RoundRecord)


def parse_record(text: bytes) -> dict[str, Any]:
    """One line of `rounds.jsonl` as plain values. All fields are there, those of later revisions are left out.

    bpp_total is made from its parts where an earlier revision did not write it. Raises RecordError.
    """
    try:
        record = _schema.validate_json(text, strict=True)
    except ValidationError as error:
        raise RecordError(first_fault(error)) from None
    if sum(client.uplink_bytes for client in record.clients) > record.uplink_bytes:
        raise RecordError("uplink_bytes: less than its clients sent")
    plain: dict[str, Any] = _schema.dump_python(record)
    if record.bpp_total is None:
        plain["bpp_total"] = record.bpp_up + record.bpp_down
    return plain


def packed(hits: npt.NDArray[np.bool_]) -> str | None:
    """(images,) booleans as base64 of a bit each, first image first; None for more than MAX_IMAGES."""
    return base64.b64encode(np.packbits(hits).tobytes()).decode() if len(hits) <= MAX_IMAGES else None


def unpacked(text: str, images: int) -> npt.NDArray[np.bool_]:
    """The other way. RecordError if it is not a bit for each of so many images."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RecordError(f"hits: {error}") from None
    if len(data) != -(-images // 8):
        raise RecordError(f"hits: {len(data)} bytes for {images} images")
    return np.unpackbits(np.frombuffer(data, np.uint8), count=images).astype(np.bool_)


def first_fault(error: ValidationError) -> str:
    """Where a value does not fit its schema, and why; nothing of the value itself, which may be long."""
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part)[:50] for part in fault["loc"])
    return f"{where}: {fault['msg']}" if where else str(fault["msg"])
