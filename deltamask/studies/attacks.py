"""Runs in which clients lie, beside the same runs in which nobody does, with protection and without. Needs no torch.

Everything comes from the tables of finished runs (`studies/tables.py`). A run is compared with the one of its own seed
in which everybody is honest and nothing is protected: what it lost is what the liar took and what protection costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from deltamask.attacks import attacks
from deltamask.config import RunConfig
from deltamask.studies.comparison import setting_of
from deltamask.studies.intervals import Figure, figure
from deltamask.studies.labels import config_label
from deltamask.studies.tables import Arms, measure, read_arms

TITLE = "One client that lies"
LIES, PROTECTION = ("attack", "attackers"), ("robust", "check_flips")
NOT_THE_SETTING = {"seed", "keep_payloads", *LIES, *PROTECTION}
HONEST = "none"
AIMS = {"1 of 5": 5.0, "1 of 30": 1.0}  # points that a liar may cost at most


@dataclass(frozen=True)
class Line:
    """One attack on one setting under one protection.

    setting: the method with its settings, in words. liars: `1 of 5`. attack, protection: registered names and values in
    words; protection is empty where nothing is protected. accuracy: mean of the last ten rounds. lost: accuracy less
    that of the honest and unprotected run of the same seed, in points; below 0 where something was lost.
    """

    setting: str
    method: str
    liars: str
    attack: str
    protection: str
    accuracy: Figure
    lost: Figure

    @property
    def lie(self) -> str:
        """The attack's label."""
        return attacks[self.attack].label

    @property
    def what(self) -> tuple[str, str, str]:
        """What lines with different protection have in common."""
        return self.setting, self.liars, self.attack


def protection(config: RunConfig) -> str:
    """What a config protects a run with, in words; empty for nothing."""
    words = [config.robust] if config.robust != "none" else []
    return ", ".join([*words, "flips checked"] if config.check_flips == "on" else words)


def stored(data: Path) -> list[Line]:
    """`lines` of the tables in a folder; none where there are no tables yet. StoreError if they are damaged."""
    return lines(*read_arms(data))


def played(arms: Arms) -> set[str]:
    """The experiments in which somebody lies."""
    return {experiment for (experiment, _), config in arms.items() if config.attack != HONEST}


def lines(arms: Arms, rounds: pd.DataFrame) -> list[Line]:
    """A line for each arm of those experiments in which somebody lies, in the arms' order, as far as it was run."""
    attacked = played(arms)
    arms = {key: config for key, config in arms.items() if key[0] in attacked}
    runs = measure(rounds[rounds["experiment"].isin(attacked)])
    accuracy = {key: run.set_index("seed")["accuracy"] for key, run in runs.groupby(["experiment", "arm"], sort=False)}
    plain = {
        (experiment, *setting_of(config, NOT_THE_SETTING)): accuracy.get((experiment, arm))
        for (experiment, arm), config in arms.items()
        if config.attack == HONEST and not protection(config)
    }
    found = []
    for (experiment, arm), config in arms.items():
        if (experiment, arm) not in accuracy:
            continue
        own, honest = accuracy[experiment, arm], plain.get((experiment, *setting_of(config, NOT_THE_SETTING)))
        gaps = 100 * (own - honest).dropna() if honest is not None else own.iloc[:0]
        found.append(
            Line(
                config_label(config.replace(attack=HONEST, robust="none", check_flips="off")),
                config.method,
                f"{config.attackers} of {config.clients}",
                config.attack,
                protection(config),
                figure(own),
                figure(gaps),
            )
        )
    return found


def beside(found: list[Line]) -> list[tuple[Line | None, Line | None]]:
    """(without protection, with it) of the same attack on the same setting, one pair a protection."""
    pairs: list[tuple[Line | None, Line | None]] = []
    for key in dict.fromkeys(line.what for line in found):
        same = [line for line in found if line.what == key]
        plain = next((line for line in same if not line.protection), None)
        protected = [line for line in same if line.protection]
        pairs += [(plain, line) for line in protected] or [(plain, None)]
    return pairs


def worst(found: list[Line]) -> dict[str, tuple[Line | None, Line | None]]:
    """For each share of liars, the line that lost the most without protection, and with it; lies only."""
    worst: dict[str, tuple[Line | None, Line | None]] = {}
    for liars in dict.fromkeys(line.liars for line in found):
        lost = [line for line in found if line.liars == liars and line.attack != HONEST and line.lost.of]
        parts = ([line for line in lost if bool(line.protection) is protected] for protected in (False, True))
        without, with_it = (min(part, key=lambda line: line.lost.mean, default=None) for part in parts)
        worst[liars] = without, with_it
    return worst


def finding(found: list[Line]) -> str:
    """What a liar costs at most, in a sentence each share of liars."""
    said = []
    for liars, ends in worst(found).items():
        costs = [
            f"{-end.lost.mean:.1f} ± {end.lost.width:.1f} points {words}"
            for words, end in zip(("without protection", "with it"), ends, strict=True)
            if end
        ]
        said.append(f"With {liars} clients lying, the worst attack costs {' and '.join(costs)}.")
    return " ".join(said)
