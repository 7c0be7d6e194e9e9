"""Every method that has been measured on the first task, those of the tables included."""

from __future__ import annotations

from collections.abc import Sequence

from deltamask.runs.reader import Run
from deltamask.studies.views.base import View, measured_in, recorded_with, views


def pick(runs: Sequence[Run]) -> list[Run]:
    """The recorded ones, then those of the tables whose method has no recorded run."""
    recorded = recorded_with()(runs)
    methods = {run.config.method for run in recorded}
    others = [*measured_in("variants")(runs), *measured_in("headline")(runs)]
    return [*recorded, *(run for run in others if run.config.method not in methods)]


views.register("methods")(
    View(
        title="Every method",
        asks="What does each way to train together cost, from whole weights to a few flips?",
        place=3,
        pick=pick,
    )
)
