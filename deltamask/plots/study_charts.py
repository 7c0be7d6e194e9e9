"""The figures of docs/results.md. Needs plotly and, to write files, kaleido with a Chromium; reads the tables only."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from statistics import fmean, geometric_mean
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from deltamask.base.files import write_atomic
from deltamask.plots import palette
from deltamask.plots.template import PAPER, band, log_axis
from deltamask.studies.experiments import Experiment
from deltamask.studies.tables import Results, option_effects

# For the arms of one method: Okabe and Ito's colour-blind-safe set.
ARM_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7d8590", "#000000")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "x", "star", "triangle-down")
WIDTH = 1000
SMOOTH = 5  # rounds: single rounds are noisier than the differences between methods


def styles(experiment: Experiment) -> dict[str, tuple[str, str, str]]:
    """(colour, dash, marker) of each arm: a run's own, or a colour an arm where there is one method only.

    Arms of one colour differ in dash and in marker as long as there are some left.
    """
    one_method = len({arm.config.method for arm in experiment.arms}) == 1
    found: dict[str, tuple[str, str, str]] = {}
    for at, arm in enumerate(experiment.arms):
        color, dash, marker = palette.style(arm.config)
        if one_method:
            color, dash, marker = ARM_COLORS[at % len(ARM_COLORS)], DASHES[0], SYMBOLS[0]
        same = [look for look in found.values() if look[0] == color]
        dash = _unused((dash, *DASHES), [look[1] for look in same])
        marker = _unused((marker, *SYMBOLS), [look[2] for look in same])
        found[arm.name] = (color, dash, marker)
    return found


def _unused(wanted: Sequence[str], used: Collection[str]) -> str:
    return next((each for each in wanted if each not in used), wanted[0])


def curves(results: Results, experiment: Experiment) -> go.Figure:
    """Accuracy by round against what a client has sent, and against what it has sent and received, in megabytes.

    Lines are means over seeds and over the last five rounds, at the mean of the seeds' megabytes; the band spans the
    seeds.
    """
    figure = make_subplots(cols=2, shared_yaxes=True, horizontal_spacing=0.03)
    rounds = results.rounds[results.rounds["experiment"] == experiment.name]
    looks, labels = styles(experiment), {arm.name: palette.plain(arm.label) for arm in experiment.arms}
    for name, frame in rounds.groupby("arm", sort=False):
        color, dash, _ = looks[str(name)]
        for col, columns in ((1, ["uplink_bytes"]), (2, ["uplink_bytes", "downlink_bytes"])):
            by_round = _mean_curve(frame, columns)
            if frame["seed"].nunique() > 1:
                spread = band(by_round["megabytes"], by_round["low"], by_round["high"], color, 0.12)
                figure.add_scatter(**spread, row=1, col=col)
            figure.add_scatter(
                x=by_round["megabytes"], y=by_round["accuracy"], name=labels[str(name)], mode="lines",
                line={"color": color, "dash": dash, "width": 1.8}, showlegend=col == 1, row=1, col=col,
            )  # fmt: skip
    _frame(figure, 480)
    log_axis(figure)
    figure.update_xaxes(title="sent so far, MB a client", col=1)
    figure.update_xaxes(title="sent and received so far, MB a client", col=2)
    figure.update_yaxes(title=f"accuracy, mean of {SMOOTH} rounds", col=1)
    return figure


def tradeoff(results: Results, experiment: Experiment) -> go.Figure:
    """One point an arm: accuracy against bpp up, and against bpp up + down, with 95 % intervals."""
    figure = make_subplots(cols=2, shared_yaxes=True, horizontal_spacing=0.03)
    looks = styles(experiment)
    for row in results.rows(experiment):
        color, _, symbol = looks[row["arm"]]
        for col, bits in ((1, "bpp_up_all"), (2, "bpp_total_all")):
            figure.add_scatter(
                x=[row[bits]], y=[row["accuracy"]], name=palette.plain(row["label"]), mode="markers",
                error_y={"type": "data", "array": [row["accuracy_ci95"]], "thickness": 1},
                marker=_marker(color, symbol), showlegend=col == 1, row=1, col=col,
            )  # fmt: skip
    _frame(figure, 420)
    log_axis(figure)
    figure.update_xaxes(title="bits per parameter up, the head included", col=1)
    figure.update_xaxes(title="bits per parameter up and down, the head included", col=2)
    figure.update_yaxes(title="accuracy", col=1)
    return figure


def worth(results: Results, experiment: Experiment) -> go.Figure:
    """What each option is worth: all arms, and for each change of one option its gain and its price.

    Small dots are pairs of arms that differ in this option only; the large one is their mean.
    """
    figure = make_subplots(cols=3)
    looks = styles(experiment)
    for row in results.rows(experiment):
        color, _, symbol = looks[row["arm"]]
        figure.add_scatter(
            x=[row["bpp_up_all"]], y=[row["accuracy"]], name=palette.plain(row["label"]), mode="markers",
            marker=_marker(color, symbol), row=1, col=1,
        )  # fmt: skip
    effects = option_effects(results, experiment)
    changes = [
        f"{f}:<br>{palette.plain(old)} → {palette.plain(new)}"
        for f, old, new in effects[["field", "old", "new"]].itertuples(index=False)
    ]
    effects = effects.assign(change=changes)
    for change, pairs in effects.groupby("change", sort=False):
        for col, column in ((2, "points"), (3, "up")):
            mean = fmean(pairs[column]) if column == "points" else geometric_mean(pairs[column])
            for x, size, opacity in ((list(pairs[column]), 7, 0.5), ([mean], 14, 1.0)):
                figure.add_scatter(
                    x=x, y=[str(change)] * len(x), mode="markers", showlegend=False,
                    marker={"color": ARM_COLORS[0], "size": size, "opacity": opacity}, row=1, col=col,
                )  # fmt: skip
    _frame(figure, 460)
    figure.update_layout(
        legend={"orientation": "h", "y": -0.24, "x": 0},
        xaxis_domain=[0, 0.34], xaxis2_domain=[0.5, 0.74], xaxis3_domain=[0.77, 1],
    )  # fmt: skip
    log_axis(figure, col=1)
    log_axis(figure, before="×", col=3)
    figure.update_xaxes(title="bits per parameter up, the head included", col=1)
    figure.update_xaxes(title="accuracy gained, points", zeroline=True, zerolinecolor="#888", zerolinewidth=1, col=2)
    figure.update_xaxes(title="uplink, times what it was", col=3)
    figure.add_vline(x=1, line_color="#888", line_width=1, col=3)
    figure.update_yaxes(title="accuracy", col=1)
    figure.update_yaxes(autorange="reversed", col=2)
    figure.update_yaxes(autorange="reversed", showticklabels=False, col=3)
    return figure


FIGURES: dict[str, Callable[[Results, Experiment], go.Figure]] = {
    "curves": curves,
    "tradeoff": tradeoff,
    "worth": worth,
}


def write_svg(figure: go.Figure, path: Path) -> None:
    """Write a figure as SVG, the same bytes for the same figure. RuntimeError if kaleido or a browser is missing."""
    try:
        svg = figure.to_image(format="svg").decode()
    except (ImportError, ValueError, RuntimeError) as error:
        raise RuntimeError(
            f"{path.name}: figures need `pip install 'deltamask[docs]'` and Chromium: {error}"
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_atomic(path) as file:
        file.write(stable(svg).encode())


def stable(svg: str) -> str:
    """The drawing with plotly's random six-digit ids numbered in their order, so that it differs only if it changed."""
    ids = dict.fromkeys(re.findall(r"(?:clip|defs-|trace|legend|topdefs-)([0-9a-f]{6})(?![0-9a-f])", svg))
    for number, random in enumerate(ids):
        svg = svg.replace(random, f"id{number:04d}")
    return svg


def _mean_curve(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """By round: mean megabytes so far of a client; the smoothed accuracy's mean, low and high over seeds."""
    frame = frame.sort_values(["seed", "round"])
    sent = frame[columns].sum(axis=1) / frame["clients"] / 1e6
    smooth = frame.groupby("seed")["accuracy"].transform(lambda each: each.rolling(SMOOTH, min_periods=1).mean())
    frame = frame.assign(megabytes=sent.groupby(frame["seed"]).cumsum(), accuracy=smooth)
    by_round = frame.groupby("round")
    return pd.DataFrame(
        {
            "megabytes": by_round["megabytes"].mean(),
            "accuracy": by_round["accuracy"].mean(),
            "low": by_round["accuracy"].min(),
            "high": by_round["accuracy"].max(),
        }
    )


def _marker(color: str, symbol: str) -> dict[str, Any]:
    return {"color": color, "symbol": symbol, "size": 10, "line": {"width": 1.5, "color": color}}


def _frame(figure: go.Figure, height: int) -> None:
    figure.update_layout(
        template=PAPER, width=WIDTH, height=height, margin={"l": 60, "r": 20, "t": 40, "b": 60},
        legend={"orientation": "v", "yanchor": "top", "y": 1, "x": 1.02, "font": {"size": 11}},
    )  # fmt: skip
    figure.update_xaxes(tickangle=0, tickfont={"size": 11})
