"""The charts, for the dashboard and the notebooks alike. Needs plotly; reads run folders only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from deltamask.config import RunConfig
from deltamask.store import Run

# One colour a method, everywhere (after Okabe & Ito's colour-blind-safe set, lightened or darkened until each has a
# contrast of 3 to 1 on white and on the dark page). Variants of one method differ in dash and marker.
METHOD_COLORS = {"deltamask": "#2f7fd1", "fedpm": "#d9641e", "linear-probe": "#7d8590"}
VARIANTS = {
    ("shared", "beta"): ("dot", "diamond", "paper: shared u, Beta"),
    ("per_client", "beta"): ("solid", "circle", "per-client u, Beta"),
    ("per_client", "unbiased"): ("dash", "square", "per-client u, unbiased"),
    ("shared", "unbiased"): ("dashdot", "cross", "shared u, unbiased"),
}
METHOD_LABELS = {"deltamask": "DeltaMask", "fedpm": "FedPM", "linear-probe": "Linear probe"}
GRID = "rgba(128,138,155,0.25)"


def label(run: Run) -> str:
    """A run's name in legends: method and variant, without the folder's hash."""
    return config_label(run.config)


def config_label(config: RunConfig) -> str:
    """Method, variant and whatever else of the coding differs from the default; untrained backbones say so."""
    return _method_label(config) + (", weights=random" if config.weights == "random" else "")


def _method_label(config: RunConfig) -> str:
    name = METHOD_LABELS.get(config.method, config.method)
    if config.method != "deltamask":
        return name
    parts = [VARIANTS[config.noise, config.aggregation][2]]
    if config.codec != RunConfig.model_fields["codec"].default:
        parts.append(config.codec)
    if config.kappa < 1 or config.kappa_schedule != "constant":
        parts.append(f"κ {config.kappa:g}{' cosine' if config.kappa_schedule == 'cosine' else ''}")
    return f"{name} ({', '.join(parts)})"


def _style(run: Run) -> tuple[str, str, str]:
    """(colour, dash, marker)."""
    dash, marker = ("solid", "circle")
    if run.config.method == "deltamask":
        dash, marker, _ = VARIANTS[run.config.noise, run.config.aggregation]
        if run.config.codec != RunConfig.model_fields["codec"].default:
            dash, marker = "longdashdot", "star"
    return METHOD_COLORS.get(run.config.method, "#7d8590"), dash, marker


def _layout(figure: go.Figure, x: str, y: str, height: int) -> go.Figure:
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        xaxis={"title": x, "gridcolor": GRID, "zeroline": False},
        yaxis={"title": y, "gridcolor": GRID, "zeroline": False},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "title": None},
        hovermode="closest",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        uirevision="keep",  # zoom and hidden curves survive a refresh
    )
    return figure


def curve_names(runs: Sequence[Run]) -> list[str]:
    """Legend names, made unique with the folder's name where two runs share a label."""
    names = [label(run) for run in runs]
    return [f"{name} · {run.id}" if names.count(name) > 1 else name for name, run in zip(names, runs, strict=True)]


def accuracy_curves(
    runs: Sequence[Run], *, against: str = "bits", at_round: int | None = None, log_x: bool = True
) -> go.Figure:
    """Accuracy of the server model, `against` cumulative uplink "bits" per parameter or "rounds".

    Bits are everything a client has sent so far, the head's probing round included. `at_round` marks that round on each
    curve.
    """
    figure = go.Figure()
    column = "bpp_up_total" if against == "bits" else "round"
    for run, name in zip(runs, curve_names(runs), strict=True):
        frame = run.rounds
        if not len(frame):
            continue
        color, dash, marker = _style(run)
        figure.add_scatter(
            x=frame[column],
            y=frame["accuracy"],
            name=name,
            mode="lines+markers" if len(frame) < 15 else "lines",
            line={"color": color, "dash": dash, "width": 2},
            marker={"symbol": marker, "size": 6},
            customdata=frame[["round", "bpp_up", "bpp_up_total"]],
            hovertemplate="round %{customdata[0]}<br>accuracy %{y:.4f}<br>%{customdata[1]:.4f} bpp this round"
            "<br>%{customdata[2]:.3f} bpp so far<extra>" + name + "</extra>",
        )
        marked = frame[frame["round"] == at_round]
        if len(marked):
            figure.add_scatter(
                x=marked[column],
                y=marked["accuracy"],
                mode="markers",
                marker={"color": color, "symbol": marker, "size": 12, "line": {"width": 2, "color": "white"}},
                showlegend=False,
                hoverinfo="skip",
            )
    x = "uplink so far, bits per parameter and client" if against == "bits" else "round"
    _layout(figure, x, "test accuracy", 340 + 20 * len(runs))  # the legend takes a line a run
    if against == "bits" and log_x:
        ticks = [mantissa * 10.0**power for power in range(-4, 5) for mantissa in (1, 2, 5)]
        figure.update_xaxes(type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
    return figure


def bits_by_round(run: Run, *, height: int = 300) -> go.Figure:
    """What a run's uplink cost each round, beside the two entropy bounds on what it carried."""
    color = METHOD_COLORS.get(run.config.method, "#7d8590")
    curves = (
        ("bpp_up", "sent", color, "solid"),
        ("entropy_iid", "bound without side information", "#8a6fd1", "dash"),
        ("entropy_side", "bound given what both sides know", "#1f9e77", "dot"),
    )
    return _by_round(run, curves, "%{y:.4f} bpp", "bits per parameter", height)


def flips_by_round(run: Run, *, height: int = 300) -> go.Figure:
    """Mean flips a client: made by learning, kept by κ, and invented by the codec."""
    curves = (
        ("flips", "flips", "#2f7fd1", "solid"),
        ("kept", "kept by κ", "#1f9e77", "dash"),
        ("false_flips", "false flips", "#d9641e", "dot"),
    )
    return _by_round(run, curves, "%{y:,.0f}", "positions a client", height)


def _by_round(run: Run, curves: Sequence[tuple[str, str, str, str]], value: str, y: str, height: int) -> go.Figure:
    """Columns of the rounds after 0 as lines: (column, name, colour, dash) of each. value: its format when hovered."""
    frame = run.rounds[run.rounds["round"] > 0]
    figure = go.Figure()
    for column, name, color, dash in curves:
        if frame[column].notna().any():
            figure.add_scatter(
                x=frame["round"],
                y=frame[column],
                name=name,
                line={"color": color, "dash": dash, "width": 2},
                hovertemplate=f"round %{{x}}: {value}<extra>{name}</extra>",
            )
    _layout(figure, "round", y, height)
    figure.update_yaxes(rangemode="tozero")
    return figure


def label_split(counts: npt.NDArray[np.int64], classes: Sequence[str], *, small: bool = False) -> go.Figure:
    """How many training samples of each class each client holds; at most the first 50 clients are drawn.

    `small` leaves out all text, for a narrow column.
    """
    shown = np.asarray(counts)[:50]
    figure = go.Figure(
        go.Heatmap(
            z=shown,
            x=list(classes),
            y=[f"client {client}" for client in range(len(shown))],
            colorscale=[[0, "rgba(47,127,209,0.06)"], [1, "#2f7fd1"]],
            colorbar={"title": "samples", "thickness": 10},
            showscale=not small,
            texttemplate="%{z}" if len(shown) <= 12 and not small else None,
            xgap=1,
            ygap=1 if len(shown) <= 20 else 0,
            hovertemplate="%{y}, %{x}: %{z} samples<extra></extra>",
        )
    )
    _layout(figure, "", "", 140 if small else 280)
    figure.update_yaxes(autorange="reversed", showgrid=False, showticklabels=not small)
    figure.update_xaxes(showgrid=False, showticklabels=not small)
    if small:
        figure.update_layout(margin={"l": 0, "r": 0, "t": 0, "b": 0}, xaxis_title=None, yaxis_title=None, height=100)
    return figure


def client_accuracies(run: Run, round: int, *, height: int = 260) -> go.Figure:
    """The server model's accuracy for each sampled client after a round, worst first."""
    frame = run.clients
    frame = frame[frame["round"] == round].sort_values("accuracy") if len(frame) else frame
    figure = go.Figure(
        go.Bar(
            x=[f"client {client}" for client in frame["client"]],
            y=frame["accuracy"],
            marker={"color": METHOD_COLORS.get(run.config.method, "#7d8590")},
            customdata=frame["samples"],
            hovertemplate="%{x}: %{y:.4f}, holds %{customdata} samples<extra></extra>",
        )
    )
    _layout(figure, "", "accuracy for the client", height)
    if len(frame):
        worst, best = float(frame["accuracy"].min()), float(frame["accuracy"].max())
        figure.update_yaxes(range=[max(0.0, worst - 0.05), min(1.0, best + 0.02)])
    return figure
