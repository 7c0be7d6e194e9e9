"""How a run serves its clients, and who holds what. Needs plotly; reads run folders only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from deltamask.plots import palette
from deltamask.plots.palette import plain
from deltamask.plots.template import blank, cursor, see_through
from deltamask.runs.reader import Run

FEW, MANY = "#5a7696", "#0f4c8f"  # samples of a class; white figures can be read on both


def client_spread(run: Run, *, height: int = 300, at_round: int | None = None) -> go.Figure:
    """How differently the server model serves its clients: the best, the mean and the worst of each round."""
    frame = run.clients
    every = frame.groupby("round")["accuracy"] if len(frame) else None
    color, figure = palette.color(run.config), blank("round", "accuracy for the client", height)
    if every is not None:
        by = every.agg(["max", "mean", "min"])
        for column, name, dash, fill in (
            ("max", "best client", "dot", None), ("min", "worst client", "dash", "tonexty"),
            ("mean", "mean over clients", "solid", None),
        ):  # fmt: skip
            figure.add_scatter(
                x=by.index, y=by[column], name=name, mode="lines", fill=fill, fillcolor=see_through(color, 0.16),
                line={"color": color, "dash": dash, "width": 2},
                hovertemplate=f"round %{{x}}: %{{y:.4f}}<extra>{name}</extra>",
            )  # fmt: skip
    return cursor(figure, at_round)


def client_accuracies(run: Run, round: int, *, height: int = 300) -> go.Figure:
    """The server model's accuracy for each sampled client after a round, worst first."""
    frame = run.clients
    frame = frame[frame["round"] == round].sort_values("accuracy") if len(frame) else frame
    figure = blank("client", "accuracy for the client", height)
    figure.add_trace(
        go.Bar(
            x=[str(client) for client in frame["client"]],
            y=frame["accuracy"],
            marker={"color": palette.color(run.config)},
            customdata=frame["samples"],
            hovertemplate="client %{x}: %{y:.4f}, holds %{customdata} samples<extra></extra>",
        )
    )
    figure.update_xaxes(type="category")
    if len(frame):
        worst, best = float(frame["accuracy"].min()), float(frame["accuracy"].max())
        figure.update_yaxes(range=[max(0.0, worst - 0.05), min(1.0, best + 0.02)])
    return figure


def label_split(counts: npt.NDArray[np.int64], classes: Sequence[str]) -> go.Figure:
    """How many training samples of each class each client holds; at most the first 50 clients are drawn."""
    shown = np.asarray(counts)[:50]
    written = len(shown) <= 12  # then the cells hold their numbers: in white, so no cell may be pale
    low, high = (FEW, MANY) if written else (see_through(palette.SAMPLES, 0.06), palette.SAMPLES)
    figure = blank("", "", 280)
    figure.add_trace(
        go.Heatmap(
            z=shown,
            x=[plain(name) for name in classes],
            y=[f"client {client}" for client in range(len(shown))],
            colorscale=[[0, low], [1, high]],
            colorbar={"title": "samples", "thickness": 10},
            showscale=not written,
            texttemplate="%{z}" if written else None,
            textfont={"color": "white"},
            xgap=1,
            ygap=1 if len(shown) <= 20 else 0,
            hovertemplate="%{y}, %{x}: %{z} samples<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(showgrid=False)
    return figure
