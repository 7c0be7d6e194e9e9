"""Runs side by side: those equal but for their seed, what tells configs apart, who dominates whom. Needs no torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from deltamask.config import RunConfig
from deltamask.runs.reader import Run
from deltamask.studies.labels import CHANGED, config_label
from deltamask.studies.tasks import other_task

Setting = tuple[tuple[str, Any], ...]
NOT_A_SETTING = {"seed", "keep_payloads"}  # what may differ between runs of one group
WAYS = {"up": "bpp_up", "down": "bpp_down", "total": "bpp_total"}
FEW_BITS = 0.1  # bpp up: what the paper promises


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but their seed."""

    runs: tuple[Run, ...]

    @property
    def config(self) -> RunConfig:
        return self.runs[0].config

    @property
    def name(self) -> str:
        """What legends call it."""
        count = len(self.runs)
        changed = f" {CHANGED}" if any(run.changes for run in self.runs) else ""
        return config_label(self.config) + (f" · {count} seeds" if count > 1 else "") + changed

    @cached_property
    def rounds(self) -> pd.DataFrame:
        """One row a round that every run of the group has reached: `accuracy` and all bits as means over the runs, and
        `accuracy_min`, `accuracy_max`."""
        frames = [run.rounds for run in self.runs]
        if not all(len(frame) for frame in frames):
            return pd.DataFrame()
        if len(frames) == 1:
            return frames[0].assign(accuracy_min=frames[0]["accuracy"], accuracy_max=frames[0]["accuracy"])
        bits = [f"{name}{kind}" for name in WAYS.values() for kind in ("", "_total", "_mean")]
        every = pd.concat(frame[["round", "accuracy", *bits]] for frame in frames).groupby("round")
        mean = every.mean()
        mean["accuracy_min"], mean["accuracy_max"] = every["accuracy"].min(), every["accuracy"].max()
        return mean[every.size() == len(frames)].reset_index()

    def message_bytes(self, round: int) -> float | None:
        """Bytes that one client sends in a round, on average; None where the round or d is not known."""
        at, d = self.rounds, self.runs[0].task.get("d")
        bpp = at[at["round"] == round]["bpp_up"].tolist() if len(at) else []
        return float(bpp[0]) * d / 8 if bpp and d else None

    def summary(self) -> dict[str, Any]:
        """The runs' summaries: means, and for the accuracy the lowest and the highest. None where a run has none."""
        summaries = [run.summary() for run in self.runs]
        means = {name: _mean([summary[name] for summary in summaries]) for name in summaries[0] if name != "rounds"}
        accuracies = [summary["accuracy"] for summary in summaries if summary["accuracy"] is not None]
        return {
            "rounds": min(summary["rounds"] for summary in summaries),
            **means,
            "accuracy_min": min(accuracies, default=None),
            "accuracy_max": max(accuracies, default=None),
        }


def _mean(values: Sequence[float | None]) -> float | None:
    return None if any(value is None for value in values) else float(np.mean(np.array(values, float)))


def setting_of(config: RunConfig, apart: Collection[str] = NOT_A_SETTING) -> Setting:
    """What runs of one group have in common: all fields but those that may differ, `apart`."""
    return tuple((name, value) for name, value in config if name not in apart)


def group_by_seed(runs: Sequence[Run]) -> list[Group]:
    """Groups in the order of their first run. A run whose config and seed are in a group already gets one of its own:
    the same run twice is no second sample."""
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in runs:
        setting, copy = setting_of(run.config), 0
        while any(run.config.seed == other.config.seed for other in groups.get((setting, copy), [])):
            copy += 1
        groups.setdefault((setting, copy), []).append(run)
    return [Group(tuple(members)) for members in groups.values()]


def differing(configs: Sequence[RunConfig]) -> list[str]:
    """The fields in which the configs are not all the same, in RunConfig's order."""
    dumps = [config.model_dump() for config in configs]
    return [name for name in RunConfig.model_fields if len({str(dump[name]) for dump in dumps}) > 1]


def pareto_front(bits: Sequence[float], accuracy: Sequence[float]) -> list[int]:
    """Indices of the points that no other point beats in both (fewer bits, more accuracy), by rising bits."""
    order = sorted(range(len(bits)), key=lambda index: (bits[index], -accuracy[index]))
    front: list[int] = []
    for index in order:
        if not front or accuracy[index] > accuracy[front[-1]]:
            front.append(index)
    return front


def of_one_task(groups: Sequence[Group], focus: Run | None = None) -> list[Group]:
    """The groups of the focus's task, or without one of the task that most of them have: they alone can be ranked."""
    others = other_task([group.config for group in groups], focus.config if focus else None)
    return [group for group, other in zip(groups, others, strict=True) if not other]


def best_within(groups: Sequence[Group], budget: float, column: str = "bpp_up") -> Group | None:
    """The most accurate group, of the task that the most have, whose figure `column` of `Group.summary` is at most the
    budget; None where none is."""
    told = [(group, group.summary()) for group in of_one_task(groups)]
    within = [
        (group, summary)
        for group, summary in told
        if summary["accuracy"] is not None and summary.get(column) is not None and summary[column] <= budget
    ]
    return max(within, key=lambda pair: float(pair[1]["accuracy"]))[0] if within else None


def finding(groups: Sequence[Group], focus: Run | None = None, names: Sequence[str] | None = None) -> str | None:
    """What a comparison comes to, in a sentence, among those of one task; None before there is something to compare.

    The most accurate group, and the most accurate of those that send at most FEW_BITS up, the head's bits included.
    names: what the groups are called, if not by their `name`.
    """
    same = of_one_task(groups, focus)
    measured = [(group, summary) for group in same if (summary := group.summary())["bpp_up_all"] is not None]
    if len(measured) < 2:
        return None

    def best(among: Sequence[tuple[Group, dict[str, Any]]]) -> str:
        group, summary = max(among, key=lambda pair: float(pair[1]["accuracy"]))
        alike = [other for other in same if other.name == group.name]
        name = group.name if len(alike) == 1 else f"{group.name} · {group.runs[0].id}"
        name = names[list(groups).index(group)] if names else name
        return f"{name}, {summary['accuracy']:.4f} at {summary['bpp_up_all']:.4g} bpp up with the head"

    cheap = [(group, summary) for group, summary in measured if summary["bpp_up_all"] <= FEW_BITS]
    limited = (
        f" With at most {FEW_BITS:g} bpp up: {best(cheap)}." if cheap else f" None sends at most {FEW_BITS:g} bpp up."
    )
    return f"Most accurate: {best(measured)}.{limited}"
