"""What a promise costs: runs with differential privacy beside the same ones without, from the studies' tables.

Needs no torch. Everything comes from the tables of finished runs (`studies/tables.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from deltamask.config import RunConfig
from deltamask.config.privacy_fields import Privacy, PrivacyFields
from deltamask.privacy.plan import is_private
from deltamask.studies.intervals import Figure, figure
from deltamask.studies.labels import config_label
from deltamask.studies.tables import Arms, measure, read_arms


@dataclass(frozen=True)
class Line:
    """One method at one ε. config: of any seed. epsilon: what is promised; infinite where nothing is.

    accuracy: mean of the last ten rounds. megabytes: of a client in all, both ways.
    """

    label: str
    config: RunConfig
    epsilon: float
    accuracy: Figure
    megabytes: Figure

    @property
    def promise(self) -> str:
        """ε in words."""
        return f"{self.epsilon:g}" if math.isfinite(self.epsilon) else "none"


def stored(data: Path, dp: Privacy = "samples") -> list[Line]:
    """`lines` of the tables in a folder; none where there are no tables yet. StoreError if they are damaged."""
    return lines(*read_arms(data), dp)


def lines(arms: Arms, rounds: pd.DataFrame, dp: Privacy = "samples") -> list[Line]:
    """A line for each arm that was run of those experiments in which some arm makes this promise; clients, then ε,
    rising."""
    promising = {experiment for (experiment, _), config in arms.items() if config.dp == dp}
    runs = measure(rounds[rounds["experiment"].isin(promising)])
    figures: dict[Any, pd.DataFrame] = dict(iter(runs.groupby(["experiment", "arm"], sort=False)))
    found = [
        Line(
            config_label(unprotected(config)),
            config,
            config.dp_epsilon if is_private(config) else math.inf,
            figure(figures[key]["accuracy"]),
            figure(figures[key]["megabytes"]),
        )
        for key, config in arms.items()
        if key in figures
    ]
    first = {label: place for place, label in reversed(list(enumerate(line.label for line in found)))}

    def place(line: Line) -> tuple[float, ...]:
        return line.config.dirichlet_alpha, first[line.label], line.config.clients, line.epsilon

    return sorted(found, key=place)


def unprotected(config: RunConfig) -> RunConfig:
    """The same run without a promise."""
    defaults = RunConfig()
    return config.replace(**{name: getattr(defaults, name) for name in PrivacyFields.model_fields})
