"""DeltaMask against the two methods that it is measured by."""

from deltamask.studies.views.base import View, recorded_with, views

METHODS = ("deltamask", "fedpm", "deepreduce")

views.register("headline")(
    View(
        title="DeltaMask, FedPM, DeepReduce",
        asks="Does DeltaMask reach FedPM's accuracy with a fraction of its bits?",
        place=1,
        pick=recorded_with(METHODS),
        methods=METHODS,
    )
)
