"""What was measured and has no run folder: the runs of the studies' tables, as runs to read. Needs no torch.

Their records hold what the tables hold, the figures of each round: no clients, no messages.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from deltamask.base.paths import results_dir
from deltamask.runs.payloads import Payload
from deltamask.runs.reader import Run
from deltamask.simulation.records import RoundRecord
from deltamask.studies.tables import KEY, RECORDED, config_of, read_tables

NOTHING = dict.fromkeys(RoundRecord.__dataclass_fields__)


@dataclass(frozen=True)
class MeasuredRun(Run):
    """A run of the tables. experiment, arm: whose. rows: its rounds."""

    experiment: str
    arm: str
    rows: pd.DataFrame

    @property
    def id(self) -> str:
        """As a sweep's run folder is called: `EXPERIMENT/ARM-sSEED`."""
        return f"{self.experiment}/{self.arm}-s{self.config.seed}"

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """One a round, in their order; what the tables do not hold is None or empty."""
        return [
            {**NOTHING, "clients": [], "seconds": {}}
            | {str(name): None if _is_nan(value) else value for name, value in row.items()}
            | {name: int(row[name]) for name in ("round", "uplink_bytes", "downlink_bytes")}
            for row in self.rows.to_dict("records")
        ]

    @cached_property
    def task(self) -> dict[str, Any]:
        """d alone: who held what is not in the tables."""
        d = self.provenance.get("d")
        return {"d": int(d), "layers": [], "classes": [], "label_counts": []} if d else {}

    def payloads(self, round: int | None = None) -> list[Payload]:
        """None was kept."""
        return []


def measured_runs(data: Path | None = None) -> list[MeasuredRun]:
    """Every run of the tables in `data`, by default those that ship, in their order. StoreError if damaged.

    Left out: what this version cannot read as a config, and runs without rounds.
    """
    place = data or results_dir()
    files = [place / name for name in ("runs.jsonl", "rounds.csv")]
    if not all(file.exists() for file in files):
        return []
    return _read(place, tuple(file.stat().st_mtime_ns for file in files))


@functools.lru_cache(maxsize=4)
def _read(data: Path, changed: tuple[int, ...]) -> list[MeasuredRun]:
    """changed: when the files were; a part of the cache's key."""
    told, rounds = read_tables(data)
    kept = [*KEY, *(name for name in RECORDED if name in rounds)]
    of_run = dict(iter(rounds[kept].sort_values("round").groupby(KEY, sort=False)))
    found = []
    for run in told:
        config, rows = config_of(run), of_run.get((run["experiment"], run["arm"], run["seed"]))
        if config is None or rows is None:
            continue
        origin = {name: run.get(name) for name in ("deltamask", "git_revision", "created", "d")}
        path = data / run["experiment"] / f"{run['arm']}-s{run['seed']}"
        rows = rows.drop(columns=KEY)
        found.append(MeasuredRun(path, config, origin, {"state": "finished"}, run["experiment"], run["arm"], rows))
    return found


def measured_run(name: str) -> MeasuredRun | None:
    """The run of the tables that shipped with this id."""
    return next((run for run in measured_runs() if run.id == name), None)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
