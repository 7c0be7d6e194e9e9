"""What a promise costs: runs with differential privacy beside the same ones without, from the studies' tables.

Needs no torch. Everything comes from the tables of finished runs (`studies/tables.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from deltamask.config import RunConfig
from deltamask.config.privacy_fields import PrivacyFields
from deltamask.privacy.plan import is_private
from deltamask.studies.intervals import half_width
from deltamask.studies.labels import config_label
from deltamask.studies.tables import config_of, measure, read_tables

Arms = Mapping[tuple[str, str], RunConfig]  # (experiment, arm) → its config with any seed


class Figure(NamedTuple):
    """A mean over `seeds` runs, and half its 95 % interval; NaN for one seed."""

    mean: float
    width: float
    seeds: int


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


def stored(data: Path) -> list[Line]:
    """`lines` of the tables in a folder; none where there are no tables yet. StoreError if they are damaged."""
    runs, rounds = read_tables(data)
    return lines({(run["experiment"], run["arm"]): config for run in runs if (config := config_of(run))}, rounds)


def lines(arms: Arms, rounds: pd.DataFrame) -> list[Line]:
    """A line for each arm that was run of those experiments in which some arm promises something, ε rising."""
    promising = {experiment for (experiment, _), config in arms.items() if is_private(config)}
    runs = measure(rounds[rounds["experiment"].isin(promising)])
    figures: dict[Any, pd.DataFrame] = dict(iter(runs.groupby(["experiment", "arm"], sort=False)))
    found = [
        Line(
            config_label(unprotected(config)),
            config,
            config.dp_epsilon if is_private(config) else math.inf,
            _figure(figures[key]["accuracy"]),
            _figure(figures[key]["megabytes"]),
        )
        for key, config in arms.items()
        if key in figures
    ]
    first = {label: place for place, label in reversed(list(enumerate(line.label for line in found)))}
    return sorted(found, key=lambda line: (line.config.dirichlet_alpha, first[line.label], line.epsilon))


def unprotected(config: RunConfig) -> RunConfig:
    """The same run without a promise."""
    defaults = RunConfig()
    return config.replace(**{name: getattr(defaults, name) for name in PrivacyFields.model_fields})


def _figure(values: pd.Series[float]) -> Figure:
    plain = np.asarray(values, np.float64)
    return Figure(float(plain.mean()), half_width(plain), len(plain))
