"""Another kind of data and network: news texts, with a transformer."""

from deltamask.studies.views.base import View, measured_in, views

views.register("text")(
    View(
        title="Text",
        asks="Does it hold for a transformer that reads news?",
        place=7,
        pick=measured_in("text"),
    )
)
