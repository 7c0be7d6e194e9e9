"""DeltaMask against the two methods that it is measured by."""

from __future__ import annotations

from collections.abc import Sequence

from deltamask.runs.reader import Run
from deltamask.studies.views.base import View, measured_in, recorded_with, views

METHODS = ("deltamask", "fedpm", "deepreduce")


def pick(runs: Sequence[Run]) -> list[Run]:
    """The recorded ones, and FedPM coded with what both sides hold: published blind, it would be beaten too easily."""
    return [*recorded_with(METHODS)(runs), *measured_in("headline", "fedpm-theta")(runs)]


views.register("headline")(
    View(
        title="DeltaMask, FedPM, DeepReduce",
        asks="Does DeltaMask reach FedPM's accuracy with a fraction of its bits?",
        place=1,
        pick=pick,
        methods=METHODS,
    )
)
