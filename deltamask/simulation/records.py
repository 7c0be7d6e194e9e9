"""RoundRecord: what is known of a round. Names are stable; notebooks, the page and users' scripts read them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class ClientRecord:
    """One sampled client in one round. accuracy: the new server model's, weighted with this client's label shares.

    flips: |Δ| before κ; kept: flips encoded; false_flips: positions the server flipped although nobody sent them.
    dropped: why the server could not use the payload, else None. Fields that a method does not have are None.
    """

    client: int
    samples: int
    accuracy: float
    loss: float | None
    uplink_bytes: int
    flips: int | None
    kept: int | None
    false_flips: int | None
    dropped: str | None


@dataclass(frozen=True)
class RoundRecord:
    """One round. Round 0 is the linear-probing round that initialises the head.

    accuracy, loss: of the server model on the test set, with the mean mask. accuracy_worst, accuracy_spread: the lowest
    accuracy for a client and its standard deviation over clients, of all N, sampled or not. uplink_bytes,
    downlink_bytes: sums over the sampled clients. bpp_up, bpp_down, and bpp_total, their sum: bits per parameter and
    client. broadcast_bytes: of the message that opened the round; a client that missed rounds was sent more. flips,
    kept, false_flips, entropy_iid, entropy_side (bits per parameter): means over clients. kept_by_layer: sums over
    clients of kept flips. skipped: why the server model stayed as it was, else None. theta_histogram: how many of the d
    probabilities lie in each twentieth of [0, 1]. seconds: by stage.
    """

    round: int
    accuracy: float
    accuracy_threshold: float | None
    accuracy_sampled: float | None
    accuracy_worst: float
    accuracy_spread: float
    loss: float
    uplink_bytes: int
    downlink_bytes: int
    bpp_up: float
    bpp_down: float
    bpp_total: float
    broadcast_bytes: int
    flips: float | None
    kept: float | None
    false_flips: float | None
    entropy_iid: float | None
    entropy_side: float | None
    kept_by_layer: dict[str, int] | None
    theta_histogram: list[int] | None
    skipped: str | None
    clients: list[ClientRecord]
    seconds: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Plain values, for one line of `rounds.jsonl`. What is not finite (a diverged loss) becomes null."""
        plain: dict[str, Any] = _finite(asdict(self))
        return plain


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
