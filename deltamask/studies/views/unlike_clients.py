"""Clients whose data differ: most methods fall below the head that they began with."""

from deltamask.studies.views.base import View, recorded_with, views

views.register("unlike-clients")(
    View(
        title="Clients that differ",
        asks="What is left when clients hold few classes each (α 0.1), and a fifth of them take part in a round?",
        place=4,
        pick=recorded_with(clients=30, rho=0.2, dirichlet_alpha=0.1),
    )
)
