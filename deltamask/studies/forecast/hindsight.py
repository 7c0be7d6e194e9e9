"""How far off a forecast of a finished run was: one made without the runs of its own setting."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deltamask.runs.reader import Run
from deltamask.studies.forecast.memory import Memory
from deltamask.studies.forecast.ranges import Range
from deltamask.studies.forecast.run_time import pace_of


@dataclass(frozen=True)
class Hindsight:
    """of: bytes a client sends in a round, accuracy over the last ten rounds, or seconds of the whole run. said: the
    forecast. measured: what it came to."""

    of: str
    said: Range
    measured: float


def hindsight(memory: Memory, run: Run, local: Path) -> list[Hindsight]:
    """What could be forecast and was measured, in the order bytes, accuracy, seconds; none before the run's end.

    local: the folder of runs that this machine made: what another took says nothing of a time told for this one.
    """
    if run.state != "finished" or not run.records:
        return []
    said, summary, d = memory.forecast(run.config, without=True), run.summary(), run.task.get("d")
    pace = pace_of(run, local)
    measured = {
        "bytes": (said.message, summary["bpp_up"] * d / 8 if d and summary["bpp_up"] is not None else None),
        "accuracy": (said.accuracy, summary["accuracy"]),
        "seconds": (
            said.time.seconds if said.time else None,
            pace.whole if pace and said.time and pace.local == said.time.local else None,
        ),
    }
    return [
        Hindsight(of, range, float(figure))
        for of, (range, figure) in measured.items()
        if range is not None and figure is not None
    ]
