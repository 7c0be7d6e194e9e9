"""A vision transformer's last two blocks, clients alike."""

from deltamask.studies.views.base import View, measured_in, views

views.register("transformer")(
    View(
        title="A vision transformer",
        asks="Do masks close the gap to fine-tuning on a transformer's last two blocks?",
        place=8,
        pick=measured_in("transformer"),
    )
)
