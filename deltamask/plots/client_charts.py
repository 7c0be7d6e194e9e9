"""How a run serves its clients, and who holds what. Needs plotly; reads run folders only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from deltamask.plots import palette
from deltamask.plots.palette import plain
from deltamask.plots.template import blank, cursor, see_through
from deltamask.runs import figures
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


# What each client's accuracy is drawn against, and the axis's title.
AGAINST = {
    "sorted": "clients, worst first",
    "samples": "training samples of the client",
    "unlikeness": "unlike the others, total variation distance",
}
# (list of the record, name, colour, marker); `alone` stands in round 0.
FARES = (
    ("client_accuracy", "joined", palette.JOINED, "circle"),
    ("client_accuracy_adapted", "joined, own label shares added", palette.ADAPTED, "diamond-open"),
    ("alone", "alone", palette.ALONE, "x-thin-open"),
)


def joined_or_alone(run: Run, round: int, against: str = "sorted", *, height: int = 360) -> go.Figure:
    """The accuracy for each of all N clients after a round: of the server model, with and without the client's own
    label shares, and of the model it trained alone. against: one of AGAINST.

    Empty where the record does not have them, or what they are drawn against is not known.
    """
    figure = blank(AGAINST[against], "accuracy for the client", height)
    record = next((record for record in run.records if record["round"] == round), None)
    joined = record and record["client_accuracy"]
    x = positions(run, joined, against) if joined else None
    if record is None or x is None:
        return figure
    for field, name, color, symbol in FARES:
        values = run.records[0][field] if field == "alone" else record[field]
        if values:
            figure.add_scatter(
                x=x, y=values, name=name, mode="markers", ids=[str(client) for client in range(len(values))],
                marker={"color": color, "symbol": symbol, "size": 9, "line": {"width": 2, "color": color}},
                hovertemplate=f"client %{{id}}: %{{y:.4f}}<extra>{name}</extra>",
            )  # fmt: skip
    return figure


def positions(run: Run, joined: Sequence[float], against: str) -> list[float] | None:
    """Where each client stands on the axis: its rank from 1, or a figure of its samples; None if those are unknown."""
    if against == "sorted":
        ranks: list[float] = (np.argsort(np.argsort(joined, kind="stable")) + 1).tolist()
        return ranks
    counts = np.array(run.task.get("label_counts", []))
    if len(counts) != len(joined):
        return None
    found: list[float] = (counts.sum(1) if against == "samples" else figures.unlikeness(counts)).tolist()
    return found


def class_accuracies(run: Run, round: int, *, height: int = 360) -> go.Figure:
    """The server model's accuracy by class after a round; a class without test images has no bar."""
    figure = blank("class", "accuracy on the test set", height)
    record = next((record for record in run.records if record["round"] == round), None)
    names, values = run.task.get("classes", []), (record or {}).get("class_accuracy") or []
    if len(names) == len(values):
        figure.add_bar(
            x=[plain(name) for name in names], y=values, marker={"color": palette.color(run.config)},
            hovertemplate="%{x}: %{y:.4f}<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(type="category")
    figure.update_yaxes(rangemode="tozero")
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
