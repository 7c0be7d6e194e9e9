"""How long rounds take: shared by `rounds.py` and its variant on Flower."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field

from deltamask.config import RunConfig
from deltamask.simulation.loop import Checkpoint, Observer, simulate
from deltamask.simulation.records import RoundRecord
from deltamask.task.task import Task


@dataclass
class Timing:
    """seconds: of each round. stages: seconds by stage, of each round where they are known. accuracy: the last one."""

    seconds: list[float] = field(default_factory=list)
    stages: list[dict[str, float]] = field(default_factory=list)
    accuracy: float = 0.0

    @property
    def median(self) -> float:
        """Of all rounds but the first, which warms up."""
        return statistics.median(self.seconds[1:] or self.seconds)


class LastCheckpoint(Observer):
    """Keeps the newest checkpoint."""

    checkpoint: Checkpoint | None = None

    def finished(self, record: RoundRecord, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint


def probed(task: Task, config: RunConfig) -> Checkpoint:
    """The state after round 0, from which all variants go on."""
    observer = LastCheckpoint()
    next(simulate(config, task=task, observer=observer))
    assert observer.checkpoint is not None
    return observer.checkpoint


def play(task: Task, config: RunConfig, start: Checkpoint) -> Timing:
    """Time the rounds after `start`."""
    timing = Timing()
    rounds = simulate(config, task=task, start=start)
    for _ in range(config.rounds):
        begin = time.perf_counter()
        record = next(rounds)
        timing.seconds.append(time.perf_counter() - begin)
        timing.stages.append(record.seconds)
        timing.accuracy = record.accuracy
    return timing
