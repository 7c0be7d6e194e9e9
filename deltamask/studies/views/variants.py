"""DeltaMask as the paper has it, and what changes of it are worth."""

from deltamask.studies.views.base import View, recorded_with, views

views.register("variants")(
    View(
        title="DeltaMask's variants",
        asks="What do codec, aggregation and public noise change within DeltaMask?",
        place=2,
        pick=recorded_with(("deltamask",)),
        methods=("deltamask",),
    )
)
