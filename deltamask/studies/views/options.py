"""Public noise, aggregation and codec, each with each."""

from deltamask.studies.views.base import View, measured_in, views

views.register("options")(
    View(
        title="Every option",
        asks="Which of noise, aggregation and codec does the work?",
        place=9,
        pick=measured_in("options"),
    )
)
