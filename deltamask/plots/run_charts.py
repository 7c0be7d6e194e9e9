"""The charts, for the dashboard and the notebooks alike. Needs plotly; reads run folders only."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from deltamask.plots import forecast_point, palette
from deltamask.plots.line_names import End, at_ends, beside
from deltamask.plots.palette import plain
from deltamask.plots.template import CURSOR, band, blank, cursor, log_axis
from deltamask.runs import figures
from deltamask.runs.reader import Run
from deltamask.studies.comparison import WAYS, Group, group_by_seed, of_one_task, pareto_front
from deltamask.studies.forecast import Forecast
from deltamask.studies.labels import CHANGED, distinct_labels
from deltamask.studies.tasks import other_task

PER = {"so far": "_total", "a round": "_mean"}
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SMOOTHED = 5  # rounds
WAY_WORDS = {"up": "uplink", "down": "downlink", "total": "up and down"}


def group_names(groups: Sequence[Group], focus: Run | None = None) -> list[str]:
    """What tells each group from the others, made unique with the folder's name where two are alike; how many seeds it
    has where that is not the same for all; whether it is of another task than the focus, or than the most; and what
    state it is in, if it has not finished."""
    configs = [group.config for group in groups]
    counts = [len(group.runs) for group in groups]
    said = [f" · {count} seed{'s' if count > 1 else ''}" if len(set(counts)) > 1 else "" for count in counts]
    alike = [f"{name}{seeds}" for name, seeds in zip(distinct_labels(configs), said, strict=True)]
    others = other_task(configs, focus.config if focus else None)
    return [
        (f"{name} · {group.runs[0].id}" if alike.count(name) > 1 else name)
        + (f" {CHANGED}" if any(run.changes for run in group.runs) else "")
        + (" · other task" if other else "")
        + "".join(f" ({state})" for state in sorted({run.state for run in group.runs} - {"finished"}))
        for name, group, other in zip(alike, groups, others, strict=True)
    ]


def numbered_names(groups: Sequence[Group], focus: Run | None = None) -> list[str]:
    """`group_names`, with numbers for where there is no room for a name: `1 · FedPM`."""
    return [f"{number} · {name}" for number, name in enumerate(group_names(groups, focus), 1)]


def accuracy_curves(
    runs: Sequence[Run],
    *,
    against: str = "bits",
    way: str = "up",
    per: str = "so far",
    at_round: int | None = None,
    seeds: bool = False,
    focus: Run | None = None,
    smooth: bool = False,
    height: int | None = None,
    expected: Forecast | None = None,
) -> go.Figure:
    """Accuracy of the server model, `against` "bits" per parameter and client or "rounds".

    way: bits "up", "down" or in "total". per: everything sent "so far", round 0 included, or the mean over "a round",
    rounds after 0. at_round: marks that round on each curve and pales what comes after it. seeds: runs that differ in
    their seed alone become one curve, their mean, in a band from the lowest to the highest. focus: the run whose curve
    is thick, and whose task the others are measured by. smooth: means over SMOOTHED rounds, above the pale line of each
    round. height: with one, in pixels, names stand at the lines' ends instead of in a legend: numbers against bits,
    numbered names against rounds. expected: what a run that is not there yet would come to, as a point of its own.
    """
    groups = group_by_seed(runs) if seeds else [Group((run,)) for run in runs]
    column = WAYS[way] + PER[per] if against == "bits" else "round"
    bits = f"{WAY_WORDS[way]} {per}, bits per parameter and client"
    accuracy = f"test accuracy{f', means of {SMOOTHED} rounds' if smooth else ''}"
    figure = blank(bits if against == "bits" else "round", accuracy, height or 340 + 20 * len(groups))
    looks = palette.styles([group.config for group in groups], focus=focus.config if focus else None)
    ends: list[End] = []
    for number, (group, name, look) in enumerate(zip(groups, group_names(groups, focus), looks, strict=True), 1):
        frame = group.rounds
        if not len(frame) or not len(frame := frame[frame[column].notna()]):
            continue
        thick = focus is not None and any(run.id == focus.id for run in group.runs)
        if smooth:
            figure.add_scatter(x=frame[column], y=frame["accuracy"], mode="lines", opacity=0.25,
                               line={"color": look[0], "width": 1}, hoverinfo="skip", showlegend=False)  # fmt: skip
            frame = frame.assign(accuracy=smoothed(frame))
        _accuracy_curve(figure, group, plain(name), frame, column, at_round, look, 3.5 if thick else 1.8)
        text = plain(f"{number}" if against == "bits" else f"{number} · {name}")
        last = frame.iloc[-1]
        ends.append(End(float(last[column]), float(last["accuracy"]), text, look[0], thick))
    if expected is not None:
        forecast_point.add(figure, expected, None if against == "rounds" else (way, per))
    if against == "bits":
        log_axis(figure)
    if height and ends:
        _name_lines(figure, ends, against, height)
    return figure


def smoothed(frame: pd.DataFrame) -> pd.Series[float]:
    """Accuracy as the mean of up to SMOOTHED rounds around each; round 0, the head's, stays as it is."""
    means = frame["accuracy"].where(frame["round"] > 0).rolling(SMOOTHED, center=True, min_periods=1).mean()
    return means.where(frame["round"] > 0, frame["accuracy"])


def _name_lines(figure: go.Figure, ends: Sequence[End], against: str, height: int) -> None:
    """Fix the axes to what is drawn, and put the names to the lines' ends."""
    low, high = (
        pick([value for trace in figure.data for value in trace.y if value is not None]) for pick in (min, max)
    )
    room = 0.04 * max(high - low, 1e-3)
    span = (float(low - room), float(high + room))
    figure.update_yaxes(range=span)
    if against == "rounds":
        beside(figure, ends, span, height)
        return
    bits = [value for trace in figure.data for value in trace.x if value and value > 0]
    left, right = np.log10(min(bits)), np.log10(max(bits))
    across = (float(left - 0.02 * (right - left) - 0.01), float(right + 0.06 * (right - left) + 0.01))
    figure.update_xaxes(range=across, tickangle=0)
    if right - left > 2:  # decades: there is no room for a tick at 2 and at 5
        figure.update_xaxes(tickvals=[10.0**power for power in range(-5, 6)], ticktext=None, tickformat="~g")
    at_ends(figure, [end for end in ends if end.x > 0], (across, span), height)


def _accuracy_curve(
    figure: go.Figure, group: Group, name: str, frame: pd.DataFrame, column: str, at_round: int | None,
    look: palette.Style, width: float,
) -> None:  # fmt: skip
    color, dash, marker = look
    line = {"color": color, "dash": dash, "width": width}
    passed = frame if at_round is None else frame[frame["round"] <= at_round]
    pale = len(passed) < len(frame)
    figure.add_scatter(
        x=frame[column],
        y=frame["accuracy"],
        name=name,
        legendgroup=name,
        mode="lines+markers" if len(frame) < 15 else "lines",
        line=line,
        opacity=0.3 if pale else 1,
        marker={"symbol": marker, "size": 6},
        customdata=frame[["round", "bpp_up", "bpp_up_total"]],
        hovertemplate="round %{customdata[0]}: %{y:.4f}<br>%{customdata[1]:.3g} bpp up, %{customdata[2]:.3g} so far"
        "<extra>" + name + "</extra>",
    )
    unseen = {"legendgroup": name, "showlegend": False, "hoverinfo": "skip"}
    if len(group.runs) > 1:
        spread = band(passed[column], passed["accuracy_min"], passed["accuracy_max"], color, 0.16)
        figure.add_scatter(**spread, legendgroup=name)
    if pale and len(passed):
        figure.add_scatter(x=passed[column], y=passed["accuracy"], mode="lines", line=line, **unseen)
    marked = frame[frame["round"] == at_round]
    if len(marked):
        spot = {"color": color, "symbol": marker, "size": 11, "line": {"width": 2, "color": color}}
        figure.add_scatter(x=marked[column], y=marked["accuracy"], mode="markers", marker=spot, **unseen)


def bits_column(way: str, per: str) -> str:
    """The figure of `Group.summary` that a front is drawn against."""
    return WAYS[way] if per == "a round" else f"{WAYS[way]}_total"


def pareto(
    groups: Sequence[Group],
    *,
    way: str = "up",
    per: str = "a round",
    focus: Run | None = None,
    budget: float | None = None,
) -> go.Figure:
    """Accuracy (mean of the last ten rounds) against bits, a point a group, with its number in `numbered_names`; the
    line joins those that no other beats in both. Bars reach from the lowest to the highest seed. Only groups of one
    task, the focus's or that of the most, are drawn: others cannot be better or worse. budget: a line at so many bits.
    """
    column = bits_column(way, per)
    looks = palette.styles([group.config for group in groups], focus=focus.config if focus else None)
    same = of_one_task(groups, focus)
    points = [
        (look, name, summary)
        for group, name, look in zip(groups, numbered_names(groups, focus), looks, strict=True)
        if group in same and (summary := group.summary())["accuracy"] is not None and summary.get(column)
    ]
    figure = blank(f"{WAY_WORDS[way]} {per}, bits per parameter and client", "accuracy, last ten rounds", 420)
    bits = [summary[column] for *_, summary in points]
    accuracy = [summary["accuracy"] for *_, summary in points]
    front = pareto_front(bits, accuracy)
    figure.add_scatter(
        x=[bits[index] for index in front],
        y=[accuracy[index] for index in front],
        mode="lines", line={"color": CURSOR, "width": 2, "shape": "hv"}, hoverinfo="skip", showlegend=False,
    )  # fmt: skip
    for (color, _, marker), name, summary in points:
        number, name = name.partition(" · ")[0], plain(name)
        spread = {
            "type": "data", "symmetric": False, "thickness": 1.5, "width": 4,
            "array": [summary["accuracy_max"] - summary["accuracy"]],
            "arrayminus": [summary["accuracy"] - summary["accuracy_min"]],
        }  # fmt: skip
        figure.add_scatter(
            x=[summary[column]],
            y=[summary["accuracy"]],
            name=name,
            mode="markers+text",
            text=[f"<b>{number}</b>"],  # a whole name would lie across its neighbours
            textposition="bottom right",
            textfont={"color": color, "size": 14},
            cliponaxis=False,
            marker={"color": color, "symbol": marker, "size": 13, "line": {"width": 2, "color": color}},
            error_y=spread if summary["accuracy_max"] > summary["accuracy_min"] else None,
            hovertemplate="accuracy %{y:.4f}<br>%{x:.4g} bpp<extra>" + name + "</extra>",
        )
    log_axis(figure)
    if budget is not None:
        figure.add_vline(budget, line={"color": CURSOR, "width": 2, "dash": "dash"})
    if bits:  # room for the names beside the outermost points
        low, high = np.log10(min(bits)), np.log10(max(bits))
        figure.update_xaxes(range=[low - 0.2 * (high - low) - 0.1, high + 0.2 * (high - low) + 0.1])
    return figure


def bits_by_round(run: Run, *, height: int = 300, at_round: int | None = None) -> go.Figure:
    """What a run's uplink cost each round, beside the two entropy bounds on what it carried."""
    curves = (
        ("bpp_up", "sent", palette.color(run.config), "solid"),
        ("entropy_iid", "bound without side information", palette.BOUND_IID, "dash"),
        ("entropy_side", "bound given what both sides know", palette.BOUND_SIDE, "dot"),
    )
    return _by_round(run, curves, "%{y:.4f} bpp", "bits per parameter", height, at_round)


def flips_by_round(run: Run, *, height: int = 300, at_round: int | None = None) -> go.Figure:
    """Mean flips a client: made by learning, kept by κ, and invented by the codec."""
    curves = (
        ("flips", "flips", palette.FLIPS, "solid"),
        ("kept", "kept by κ", palette.KEPT, "dash"),
        ("false_flips", "false flips", palette.FALSE_FLIPS, "dot"),
    )
    return _by_round(run, curves, "%{y:,.0f}", "positions a client", height, at_round)


def flips_by_layer(run: Run, round: int, *, height: int = 300) -> go.Figure:
    """Flips that a round's clients sent, by layer: their share of the layer's weights, a client."""
    record = next((record for record in run.records if record["round"] == round), {})
    kept = record.get("kept_by_layer") or {}
    sizes = {layer["name"]: layer["stop"] - layer["start"] for layer in run.task.get("layers", [])}
    clients = sum(client["kept"] is not None for client in record.get("clients", ()))
    names = [name for name in kept if sizes.get(name)]
    figure = blank("share of the layer's weights", "", height)
    figure.add_trace(
        go.Bar(
            x=[kept[name] / (max(1, clients) * sizes[name]) for name in names],
            y=[plain(name) for name in names],
            orientation="h",
            customdata=[[kept[name], sizes[name]] for name in names],
            texttemplate="%{x:.2%}",
            marker={"color": palette.color(run.config)},
            hovertemplate="%{y}: %{customdata[0]:,} flips sent by all clients, of %{customdata[1]:,} weights each"
            "<extra></extra>",
        )
    )
    figure.update_xaxes(tickformat=".1%", rangemode="tozero")
    figure.update_yaxes(autorange="reversed", type="category", showgrid=False)
    return figure


def own_metrics(run: Run, *, height: int = 300, at_round: int | None = None) -> go.Figure:
    """The own metrics that a run recorded (`training/metrics.py`), by round, the head's round 0 included."""
    names = figures.own_metrics(run.rounds)
    figure = blank("round", plain(names[0]) if len(names) == 1 else "", height)
    for name, dash in zip(names, itertools.cycle(DASHES)):
        frame = run.rounds[run.rounds[figures.OWN + name].notna()]
        figure.add_scatter(
            x=frame["round"],
            y=frame[figures.OWN + name].astype(float),
            name=plain(name),
            line={"color": palette.color(run.config), "dash": dash, "width": 2},
            hovertemplate=f"round %{{x}}: %{{y:.4g}}<extra>{plain(name)}</extra>",
        )
    return cursor(figure, at_round)


def seconds_by_stage(run: Run, *, height: int = 300, at_round: int | None = None) -> go.Figure:
    """Where a round's time goes."""
    figure = blank("round", "seconds", height)
    rounds = [record["round"] for record in run.records]
    for stage, color in palette.STAGES.items():
        figure.add_bar(
            x=rounds, y=[record["seconds"].get(stage, 0) for record in run.records], name=stage,
            marker={"color": color, "line": {"width": 0}},
            hovertemplate=f"round %{{x}}: %{{y:.3f}} s<extra>{stage}</extra>",
        )  # fmt: skip
    figure.update_layout(barmode="stack", bargap=0.15)
    return cursor(figure, at_round)


def _by_round(
    run: Run, curves: Sequence[tuple[str, str, str, str]], value: str, y: str, height: int, at_round: int | None
) -> go.Figure:
    """Columns of the rounds after 0 as lines: (column, name, colour, dash) of each. value: its format when hovered."""
    frame = run.rounds[run.rounds["round"] > 0]
    figure = blank("round", y, height)
    for column, name, color, dash in curves:
        if frame[column].notna().any():
            figure.add_scatter(
                x=frame["round"],
                y=frame[column],
                name=name,
                line={"color": color, "dash": dash, "width": 2},
                hovertemplate=f"round %{{x}}: {value}<extra>{name}</extra>",
            )
    figure.update_yaxes(rangemode="tozero")
    return cursor(figure, at_round)
