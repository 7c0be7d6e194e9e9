"""What a prepared comparison is: which of the measured runs it shows, and the sentence that says what they show.

A view is one file: it registers a `View` whose `pick` chooses among all runs that ship, those with folders and those of
the studies' tables, and whose `finds` makes the sentence from the very groups that are drawn. All its runs are of one
task (a test holds that), so that they can be ranked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from deltamask.base.paths import recorded_dir
from deltamask.base.registry import Registry
from deltamask.config import RunConfig
from deltamask.runs.reader import Run
from deltamask.studies.comparison import Group, finding, setting_of
from deltamask.studies.measured import MeasuredRun
from deltamask.studies.tasks import task_of

Pick = Callable[[Sequence[Run]], list[Run]]
Finds = Callable[[Sequence[Group], Sequence[str]], str | None]


def best_of(groups: Sequence[Group], names: Sequence[str]) -> str | None:
    """The usual sentence: who is the most accurate, and who of those that send little."""
    return finding(groups, names=names)


@dataclass(frozen=True)
class View:
    """title: on its button. asks: the question it answers, a sentence. place: where it stands among the others.

    pick(runs): those that it shows, in their order. finds(groups, names): what they show, in a sentence; None before
    there is something to say. methods: those whose absence is worth a word.
    """

    title: str
    asks: str
    place: int
    pick: Pick
    finds: Finds = best_of
    methods: tuple[str, ...] = ()


views: Registry[View] = Registry("view")


def ordered() -> list[str]:
    """The views' names, in the order in which they are offered."""
    return sorted(views, key=lambda name: (views[name].place, name))


def prepared(name: str, runs: Sequence[Run]) -> list[Run]:
    """The runs of a view, out of all that ship. KeyError for an unknown view."""
    return views.get(name).pick(runs)


def recorded_with(methods: Sequence[str] = (), **task: Any) -> Pick:
    """Picks recorded run folders by method, in the given order (none: all, in the order of their names), and by task:
    the default one, but for the fields given here. Then the same settings under other seeds, out of the tables."""
    wanted = task_of(RunConfig(**task))

    def pick(runs: Sequence[Run]) -> list[Run]:
        ours = sorted((run for run in runs if run.path.parent == recorded_dir()), key=lambda run: run.id)
        order = list(methods) or list(dict.fromkeys(run.config.method for run in ours))
        chosen = [run for run in ours if run.config.method in order and task_of(run.config) == wanted]
        chosen.sort(key=lambda run: order.index(run.config.method))
        return [*chosen, *_further_seeds(chosen, runs)]

    return pick


def _further_seeds(chosen: Sequence[Run], runs: Sequence[Run]) -> list[Run]:
    """Runs of the tables that differ from one of the chosen in their seed alone, each seed once."""
    seen = {(setting_of(run.config), run.config.seed) for run in chosen}
    settings = {setting for setting, _ in seen}
    found: list[Run] = []
    for run in runs:
        setting, seed = setting_of(run.config), run.config.seed
        if isinstance(run, MeasuredRun) and setting in settings and (setting, seed) not in seen:
            seen.add((setting, seed))
            found.append(run)
    return found


def measured_in(experiment: str, *arms: str) -> Pick:
    """Picks an experiment's runs out of the studies' tables: those of these arms, or of all."""

    def pick(runs: Sequence[Run]) -> list[Run]:
        ours = [run for run in runs if isinstance(run, MeasuredRun) and run.experiment == experiment]
        return [run for run in ours if not arms or run.arm in arms]

    return pick
