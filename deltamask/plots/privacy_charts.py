"""What messages give away, what a promise costs, and how many clients a promise for each of them takes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from deltamask.plots import palette
from deltamask.plots.template import blank, log_axis
from deltamask.privacy import crowd
from deltamask.studies.private_runs import Line

TRUE, GUESSED, PRIOR = palette.FLIPS, palette.FALSE_FLIPS, palette.OTHER
AGREEMENTS = ((1.0, "solid"), (0.1, "dash"), (0.01, "dot"))
CROWD = [10 ** (half / 2) for half in range(15)]  # clients, to 10⁷


def guessed_shares(shares: pd.DataFrame) -> go.Figure:
    """One client's shares of labels: as they are, and as they were guessed. shares: its rows of `leaks-shares.csv`."""
    figure = blank("", "share of the client's samples", 320)
    for name, column, color in (("true", "truth", TRUE), ("guessed from one payload", "guess", GUESSED)):
        figure.add_bar(
            x=[palette.plain(label) for label in shares["label"]], y=shares[column].tolist(), name=name,
            marker={"color": color}, hovertemplate="%{x}: %{y:.1%}<extra>" + name + "</extra>",
        )  # fmt: skip
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return figure.update_layout(barmode="group")


def cost_of_a_promise(lines: Sequence[Line]) -> go.Figure:
    """Accuracy for each ε and method, of one α: the last place is without a promise."""
    places = list(dict.fromkeys(line.promise for line in sorted(lines, key=lambda line: line.epsilon)))
    figure = blank("ε, δ = 10⁻⁵", "accuracy, mean of the last ten rounds", 360)
    for label in dict.fromkeys(line.label for line in lines):
        own = [line for line in lines if line.label == label]
        color, _, marker = palette.style(own[0].config)
        figure.add_scatter(
            x=[line.promise for line in own],
            y=[line.accuracy.mean for line in own],
            error_y={"type": "data", "array": [line.accuracy.width for line in own], "thickness": 1.5},
            name=palette.plain(label), mode="lines+markers", line={"color": color},
            marker={"symbol": marker, "size": 9},
            customdata=[[line.megabytes.mean, line.accuracy.of] for line in own],
            hovertemplate="ε %{x}: %{y:.4f}<br>%{customdata[0]:.2f} MB a client, %{customdata[1]} seeds<extra></extra>",
        )  # fmt: skip
    return figure.update_xaxes(type="category", categoryorder="array", categoryarray=places)


def cost_of_a_crowd(lines: Sequence[Line]) -> go.Figure:
    """Accuracy for each number of clients, a curve for each method and ε."""
    figure = blank("clients N", "accuracy, mean of the last rounds", 360)
    dashes = dict(zip(sorted({line.epsilon for line in lines}), ("dot", "dash", "solid"), strict=False))
    for label, epsilon in dict.fromkeys((line.label, line.epsilon) for line in lines):
        own = [line for line in lines if (line.label, line.epsilon) == (label, epsilon)]
        color, _, marker = palette.style(own[0].config)
        promise = "no privacy" if math.isinf(epsilon) else f"ε {epsilon:g}"
        figure.add_scatter(
            x=[line.config.clients for line in own],
            y=[line.accuracy.mean for line in own],
            error_y={"type": "data", "array": [line.accuracy.width for line in own], "thickness": 1.5},
            name=f"{palette.plain(label)}, {promise}", mode="lines+markers",
            line={"color": color, "dash": dashes.get(epsilon, "solid")}, marker={"symbol": marker, "size": 9},
            customdata=[[line.accuracy.of] for line in own],
            hovertemplate="%{x:,} clients: %{y:.4f}<br>%{customdata[0]} seeds<extra></extra>",
        )  # fmt: skip
    log_axis(figure)
    ticks = sorted({line.config.clients for line in lines})
    return figure.update_xaxes(tickvals=ticks, ticktext=[f"{tick:,}" for tick in ticks])


def signal_and_noise(flips: int, sigma: float) -> go.Figure:
    """The sum of N clients at a position where a share of them flips the same way, and the noise on it."""
    figure = blank("clients N", "on one position of the sum", 340)
    for agreement, dash in AGREEMENTS:
        figure.add_scatter(
            x=CROWD, y=[crowd.signal(round(count), agreement) for count in CROWD], mode="lines",
            name=f"signal, {agreement:.0%} agree", line={"color": TRUE, "dash": dash},
            hovertemplate="%{x:,.0f} clients: %{y:,.3g}<extra></extra>",
        )  # fmt: skip
    figure.add_scatter(
        x=CROWD, y=[crowd.noise_of_sum(flips, sigma)] * len(CROWD), mode="lines", name="noise",
        line={"color": GUESSED, "width": 3}, hovertemplate="noise %{y:,.3g}<extra></extra>",
    )  # fmt: skip
    log_axis(figure)
    ticks = [10**power for power in range(8)]
    figure.update_xaxes(tickvals=ticks, ticktext=[f"{tick:,}" for tick in ticks])
    return figure.update_yaxes(type="log", tickvals=ticks, ticktext=[f"{tick:,}" for tick in ticks])
