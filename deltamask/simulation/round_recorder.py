"""Turns what happens in a round into its record. It measures; it decides nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from deltamask.base.stopwatch import Stopwatch
from deltamask.masking.masks import ONE, Positions, Theta
from deltamask.methods.base import Receipt, Upload
from deltamask.simulation.ledger import Ledger
from deltamask.simulation.records import ClientRecord, RoundRecord, packed
from deltamask.task.task import Task
from deltamask.training import Evaluation, client_accuracy

THETA_BINS = 20


class RoundRecorder:
    """Collects what happens in one round, in memory that does not grow with d or with the number of clients.

    late: is it one of the last rounds, of which a record says which images were right?
    """

    def __init__(self, task: Task, round: int, *, late: bool = False) -> None:
        self.task, self.round, self.late = task, round, late
        self.ledger, self.clock = Ledger(task.d), Stopwatch()
        self.broadcast_bytes = 0
        self._clients: dict[int, ClientRecord] = {}
        self._reached: set[int] = set()
        self._refused: str | None = None
        self._in_flight: dict[int, Positions | None] = {}
        self._kept_by_layer: np.ndarray | None = None
        self._entropies: list[tuple[float | None, float | None]] = []

    def delivered(self, client: int, sent_bytes: int) -> None:
        """The client was sent so many bytes."""
        self.ledger.down(sent_bytes, again=client in self._reached)
        self._reached.add(client)

    def lost(self, client: int, why: str) -> None:
        """The client sent nothing."""
        before = self._clients.get(client) or self._line(client)
        self._clients[client] = replace(before, dropped=before.dropped or why)

    def sent(self, client: int, upload: Upload) -> None:
        """The client sent its payload. A round of two exchanges has two, of which the line has the sum."""
        report, before = upload.report, self._clients.get(client)
        self.ledger.up(upload.payload, again=before is not None and before.uplink_bytes > 0)
        for stage, seconds in report.seconds.items():
            self.clock.seconds[stage] = self.clock.seconds.get(stage, 0.0) + seconds
        kept = report.kept if report.sent is None else len(report.sent)
        if report.sent is not None:
            by_layer = np.histogram(report.sent, bins=np.array(self.task.tail.offsets))[0]
            self._kept_by_layer = by_layer if self._kept_by_layer is None else self._kept_by_layer + by_layer
        self._entropies.append((report.entropy_iid, report.entropy_side))
        self._in_flight[client] = report.sent
        before = before or self._line(client)
        self._clients[client] = replace(
            before,
            loss=report.loss,
            uplink_bytes=before.uplink_bytes + len(upload.payload),
            flips=report.flips,
            kept=kept,
        )

    def _line(self, client: int) -> ClientRecord:
        """A client of which nothing has come yet."""
        return ClientRecord(client, int(self.task.samples[client]), 0.0, None, 0, None, None, None, None)

    def received(self, receipt: Receipt) -> None:
        """The server decoded the payload, or dropped it."""
        self.clock.seconds["decode"] = self.clock.seconds.get("decode", 0.0) + receipt.seconds
        if receipt.client not in self._in_flight:  # a second payload, refused: the first one's line stands
            return
        sent = self._in_flight.pop(receipt.client)
        false_flips = None
        if sent is not None and receipt.positions is not None:
            false_flips = len(np.setdiff1d(receipt.positions, sent, assume_unique=True))
        line = self._clients[receipt.client]
        self._clients[receipt.client] = replace(line, false_flips=false_flips, dropped=line.dropped or receipt.dropped)

    def refused(self, why: str) -> None:
        """The state that the payloads lead to cannot be the run's: the one before stands."""
        self._refused = self._refused or f"{why}: the server model stays as it was"

    def close(
        self, evaluations: dict[str, Evaluation], theta: Theta | None, temperature: np.ndarray | None = None
    ) -> RoundRecord:
        """The record. `evaluations`: by kind of mask, the first being the headline. temperature: (1,), of the head."""
        headline = next(iter(evaluations.values()))
        everyone = [client_accuracy(headline, counts) for counts in self.task.label_counts]
        clients = [replace(record, accuracy=everyone[record.client]) for record in self._clients.values()]
        used = any(record.dropped is None for record in clients)
        stages = ("train", "encode", "decode", "evaluate", "broadcast")
        seconds = {stage: self.clock.seconds.get(stage, 0.0) for stage in stages}
        others = self.clock.seconds.get("clients", 0.0) + seconds["decode"]
        seconds["aggregate"] = max(0.0, self.clock.seconds["server"] - others)
        return RoundRecord(
            round=self.round,
            accuracy=headline.accuracy,
            accuracy_threshold=_accuracy(evaluations.get("threshold")),
            accuracy_sampled=_accuracy(evaluations.get("sampled")),
            accuracy_worst=min(everyone),
            accuracy_spread=float(np.std(everyone)),
            loss=headline.loss,
            uplink_bytes=self.ledger.uplink_bytes,
            downlink_bytes=self.ledger.downlink_bytes,
            bpp_up=self.ledger.bpp_up,
            bpp_down=self.ledger.bpp_down,
            bpp_total=self.ledger.bpp_up + self.ledger.bpp_down,
            broadcast_bytes=self.broadcast_bytes,
            flips=_mean([record.flips for record in clients]),
            kept=_mean([record.kept for record in clients]),
            false_flips=_mean([record.false_flips for record in clients]),
            entropy_iid=_mean([iid for iid, _ in self._entropies]),
            entropy_side=_mean([side for _, side in self._entropies]),
            kept_by_layer=self._by_layer(),
            theta_histogram=None if theta is None else _histogram(theta),
            skipped=self._refused or (None if used else "no payload could be used: the server model stays as it was"),
            head_temperature=None if temperature is None or np.isnan(temperature[0]) else float(temperature[0]),
            class_accuracy=[None if np.isnan(share) else round(float(share), 4) for share in headline.class_accuracy],
            client_accuracy=rounded(everyone),
            client_accuracy_adapted=None if headline.adapted is None else rounded(headline.adapted),
            hits=packed(headline.hits) if self.late and headline.hits is not None else None,
            metrics=headline.metrics,
            clients=clients,
            seconds={stage: round(value, 4) for stage, value in seconds.items()},
        )

    def _by_layer(self) -> dict[str, int] | None:
        if self._kept_by_layer is None:
            return None
        names = [layer.name for layer in self.task.tail.layers]
        return dict(zip(names, self._kept_by_layer.tolist(), strict=True))


def rounded(accuracies: Iterable[float]) -> list[float]:
    """One a client, as a record holds them: four digits, as there may be many."""
    return [round(float(value), 4) for value in accuracies]


def _accuracy(evaluation: Evaluation | None) -> float | None:
    return None if evaluation is None else evaluation.accuracy


def _mean(values: list[int | None] | list[float | None]) -> float | None:
    given = [value for value in values if value is not None]
    return float(np.mean(given)) if given else None


def _histogram(theta: Theta) -> list[int]:
    counts: list[int] = np.histogram(theta, bins=THETA_BINS, range=(0, ONE))[0].tolist()
    return counts
