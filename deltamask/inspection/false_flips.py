"""The false flips of a run's payloads: counted by the server, and expected from the codec's rate. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

from deltamask.inspection.recorded_payload import client_lines, flip_codec
from deltamask.runs.reader import Run


@dataclass(frozen=True)
class FalseFlips:
    """One payload. sent: flips in it. counted: false flips. expected: (d − sent) · rate; None without a fixed rate."""

    round: int
    client: int
    sent: int
    counted: int
    expected: float | None


def false_flips_of(run: Run, d: int) -> list[FalseFlips]:
    """Every payload of flips in the run's records, in their order."""
    codec = flip_codec(run.config)
    rate = None if codec is None else codec.false_positive_rate
    return [
        FalseFlips(
            round=round,
            client=line["client"],
            sent=line["kept"],
            counted=line["false_flips"],
            expected=None if rate is None else (d - line["kept"]) * rate,
        )
        for round, line in client_lines(run)
        if type(line.get("kept")) is int and type(line.get("false_flips")) is int
    ]
