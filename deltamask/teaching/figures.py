"""Figures that only the notebooks draw. Those that the dashboard draws too are in `deltamask.plots.run_charts`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
import plotly.io as pio

from deltamask.codecs.bfuse_build import Peeling
from deltamask.masking.masks import ONE, Theta
from deltamask.masking.noise import Words
from deltamask.plots.template import COLORWAY, GRID, NAME, TEXT, see_through
from deltamask.runs.reader import Run

BLUE, ORANGE, GREEN, PURPLE, GRAY, GOLD = COLORWAY
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
PlotData = Sequence[float] | Sequence[float | None] | npt.NDArray


def use_theme() -> None:
    """Draw the notebook's charts with the project's template."""
    pio.templates.default = NAME


def _titled(x: str, y: str, **layout: object) -> go.Figure:
    return go.Figure(layout={"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}, **layout})


def lines(
    x: PlotData, curves: Mapping[str, PlotData], *, axes: tuple[str, str], log_x: bool = False, log_y: bool = False
) -> go.Figure:
    """One line for each of `curves` over the same x."""
    figure = _titled(*axes)
    for (name, y), color, dash in zip(curves.items(), COLORWAY, DASHES, strict=False):
        mode = "lines+markers" if len(x) <= 15 else "lines"
        figure.add_scatter(x=list(x), y=list(y), name=name, mode=mode, line={"color": color, "dash": dash, "width": 2})
    if log_x:
        figure.update_xaxes(type="log", dtick=1)
    if log_y:
        figure.update_yaxes(type="log", dtick="D2")
    return figure


def bars(
    names: Sequence[str], series: Mapping[str, PlotData], *, axis: str, text: str = ",.3r", log: bool = False
) -> go.Figure:
    """Groups of horizontal bars: a group for each of `names`, a bar in it for each of `series`."""
    figure = _titled(axis, "", height=90 + 30 * len(names) * max(1, round(0.7 * len(series))), barmode="group")
    for (name, values), color in zip(series.items(), COLORWAY, strict=False):
        figure.add_bar(
            y=[f"{label} " for label in names], x=values, name=name, orientation="h", marker={"color": color},
            texttemplate=f"%{{x:{text}}}", textposition="outside", cliponaxis=False,
        )  # fmt: skip
    figure.update_yaxes(autorange="reversed")
    figure.update_layout(showlegend=len(series) > 1)
    if log:
        figure.update_xaxes(type="log", dtick=1, exponentformat="power")
    return figure


def histograms(
    values: Mapping[str, npt.NDArray],
    *,
    axes: tuple[str, str],
    bins: int = 60,
    span: tuple[float, float],
    log_y: bool = False,
) -> go.Figure:
    """Step histograms, one for each of `values`, over the same bins."""
    edges = np.linspace(*span, bins + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    figure = _titled(*axes)
    for (name, data), color in zip(values.items(), COLORWAY, strict=False):
        counts = np.histogram(data, edges)[0]
        figure.add_scatter(
            x=middles, y=np.where(counts, counts, np.nan) if log_y else counts, name=name, mode="lines",
            line={"color": color, "width": 2, "shape": "hvh"},
        )  # fmt: skip
    figure.update_yaxes(type="log" if log_y else "linear")
    return figure


def both_directions(runs: Mapping[str, Run]) -> go.Figure:
    """What one client receives and sends over a whole run, in bits per parameter."""
    up = [float(run.rounds["bpp_up_total"].iloc[-1]) for run in runs.values()]
    down = [float(run.rounds["bpp_down_total"].iloc[-1]) for run in runs.values()]
    series = {"sent by a client": up, "received by a client": down}
    return bars(list(runs), series, axis="bits per parameter, the whole run (logarithmic)", log=True)


def masks_from_one_u(
    theta_client: Theta, theta_global: Theta, u: Words, *, low: float, shown: int = 12_000
) -> go.Figure:
    """Positions as points (θ_k, u), for one value of θ_g, in [low, 1]²: the mask bit is 1 below the line."""
    x, y, level = theta_client[:shown] / ONE, u[:shown] / ONE, theta_global[:shown] / ONE
    flipped = (y < x) != (y < level)
    figure = _titled("θ of the client after training", "u, public randomness", height=420)
    groups = (
        ("same mask bit", ~flipped, GRAY, 3),
        ("1 → 0", flipped & (y < level), ORANGE, 5),
        ("0 → 1", flipped & (y >= level), BLUE, 5),
    )
    for name, chosen, color, size in groups:
        chosen = chosen & (x > low) & (y > low)
        marker = {"color": color, "size": size, "opacity": 0.4 if size == 3 else 0.9}
        figure.add_scatter(
            x=x[chosen].round(4), y=y[chosen].round(4), mode="markers", name=name, marker=marker, hoverinfo="skip"
        )
    figure.add_scatter(x=[low, 1], y=[low, 1], mode="lines", name="u = θ_k", line={"color": TEXT, "width": 1.5})
    figure.add_scatter(
        x=[low, 1], y=[level[0]] * 2, mode="lines", name="u = θ_g", line={"color": TEXT, "width": 1.5, "dash": "dash"}
    )
    return figure.update_xaxes(range=[low, 1]).update_yaxes(range=[low, 1])


def peeling(peeled: Peeling) -> go.Figure:
    """Keys in peeling order, the three slots that each asks, and as a square the slot that is filled for it."""
    figure = _titled("slot of the filter", "key, in the order of peeling", height=150 + 42 * len(peeled.keys))
    order = np.arange(len(peeled.keys))
    for index, slots in enumerate(peeled.slots):
        figure.add_scatter(
            x=np.sort(slots), y=[index] * 3, mode="lines", line={"color": GRID, "width": 2}, hoverinfo="skip",
            showlegend=False,
        )  # fmt: skip
    figure.add_scatter(
        x=peeled.slots.ravel(), y=np.repeat(order, 3), mode="markers", name="asks this slot",
        marker={"color": BLUE, "size": 13}, hovertemplate="key %{y} asks slot %{x}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=peeled.own, y=order, mode="markers+text", name="its own: nobody below in this list asks it",
        marker={"color": ORANGE, "size": 24, "symbol": "square"}, text=[str(i + 1) for i in order],
        textfont={"color": "white"}, hovertemplate="settled by slot %{x}<extra></extra>",
    )  # fmt: skip
    for border in range(1, peeled.segment_count + 2):
        figure.add_vline(x=border * peeled.segment_length - 0.5, line={"color": TEXT, "width": 1, "dash": "dot"})
    figure.update_xaxes(range=[-0.7, peeled.total - 0.3], dtick=max(1, peeled.total // 24), showgrid=False)
    figure.update_yaxes(
        autorange="reversed", tickvals=order, showgrid=False,
        ticktext=[f"{i + 1}: {key:,} " for i, key in enumerate(peeled.keys)],
    )  # fmt: skip
    return figure


def picture_map(pixels: bytes, width: int, parts: Sequence[tuple[str, int, int]], *, rows: int) -> go.Figure:
    """The first rows of a picture, each pixel in the colour of its part. parts: (name, start, stop)."""
    shown = min(len(pixels), rows * width)
    values = np.frombuffer(pixels, np.uint8)[:shown]
    figure = _titled("column", "row", height=130 + 9 * rows)
    for (name, start, stop), color in zip(parts, (ORANGE, GREEN, BLUE, GRAY), strict=False):
        mine = np.full(-(-shown // width) * width, np.nan)
        mine[start : min(stop, shown)] = values[start:stop]
        figure.add_heatmap(
            z=mine.reshape(-1, width), name=name, showscale=False, zmin=0, zmax=255, hoverongaps=False,
            colorscale=[[0, "rgba(128,138,155,0.18)"], [0.02, see_through(color, 0.35)], [1, color]],
            hovertemplate=f"{name}<br>row %{{y}}, column %{{x}}: %{{z}}<extra></extra>",
        )  # fmt: skip
        marker = {"color": color, "symbol": "square", "size": 12}
        figure.add_scatter(x=[None], y=[None], mode="markers", name=name, marker=marker)
    figure.update_yaxes(autorange="reversed", scaleanchor="x", showgrid=False, constrain="domain")
    figure.update_xaxes(showgrid=False, constrain="domain")
    return figure


def server_and_clients(clients: int = 3) -> go.Figure:
    """One round as a picture: a server, its clients with their own data, and what travels between them."""
    figure = go.Figure(layout={"height": 380, "showlegend": False, "margin": {"l": 10, "r": 10, "t": 10, "b": 10}})
    _box(figure, 0.5, 0.86, "<b>server</b><br>1 sends the model · 4 averages what comes back", BLUE, width=0.5)
    for at in (np.arange(clients) + 0.5) / clients:
        _box(
            figure,
            at,
            0.2,
            "<b>client</b><br>2 trains on its own data,<br>which stays here",
            ORANGE,
            width=0.8 / clients,
        )
        for shift, low, high, color in ((-0.025, 0.33, 0.73, BLUE), (0.025, 0.73, 0.33, ORANGE)):
            top = 0.5 + 0.4 * (at - 0.5) + shift
            ends = ((top, high), (at + shift, low)) if color == BLUE else ((at + shift, high), (top, low))
            (x, y), (to_x, to_y) = ends
            figure.add_annotation(
                x=to_x, y=to_y, ax=x, ay=y, axref="x", ayref="y", text="", showarrow=True, arrowhead=2, arrowwidth=2,
                arrowcolor=color,
            )  # fmt: skip
    down, up = "<b>down</b><br>the model, or<br>what changed in it", "<b>up</b><br>3 an update"
    for x, text, color in ((0.12, down, BLUE), (0.88, up, ORANGE)):
        figure.add_annotation(x=x, y=0.86, text=text, showarrow=False, font={"color": color, "size": 14})
    figure.update_xaxes(range=[0, 1], visible=False, fixedrange=True)
    figure.update_yaxes(range=[0, 1], visible=False, fixedrange=True)
    return figure


def _box(figure: go.Figure, x: float, y: float, text: str, color: str, *, width: float, height: float = 0.24) -> None:
    """A box around a text; x, y: its middle, all in shares of the picture."""
    corners = {"x0": x - width / 2, "x1": x + width / 2, "y0": y - height / 2, "y1": y + height / 2}
    figure.add_shape(type="rect", line={"color": color, "width": 2}, **corners)
    figure.add_annotation(x=x, y=y, text=text, showarrow=False, align="center", font={"size": 13})
