"""How every chart is set up: one Plotly template, a variant of it for white paper, and see-through colours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import plotly.graph_objects as go
import plotly.io as pio
from plotly.colors import hex_to_rgb

NAME, PAPER = "deltamask-screen", "deltamask-paper"
GRID = "rgba(128,138,155,0.25)"
CURSOR = "rgba(128,138,155,0.8)"
TEXT = "#747c88"  # reads on a white page and on a dark one; the dashboard puts its theme's colour in its place

COLORWAY = ("#2f7fd1", "#d9641e", "#1f9e77", "#8a6fd1", "#7d8590", "#b58900")

MARGIN = {"l": 8, "r": 12, "t": 8, "b": 8}  # to the right there is half a tick's label

_AXIS = {"gridcolor": GRID, "linecolor": GRID, "zeroline": False, "automargin": True, "title": {"standoff": 12}}
pio.templates[NAME] = go.layout.Template(
    layout={
        "font": {"color": TEXT, "size": 13},
        "colorway": COLORWAY,
        "height": 320,
        "margin": MARGIN,
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        "hovermode": "closest",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "uirevision": "keep",  # zoom and hidden curves survive a refresh
    }
)
pio.templates[PAPER] = pio.templates.merge_templates(
    NAME, go.layout.Template(layout={"font": {"color": "#171d2b", "size": 12}, "paper_bgcolor": "white"})
)


def blank(x: str, y: str, height: int) -> go.Figure:
    """A figure with nothing in it yet. x, y: the axes' titles. height: in pixels."""
    layout = {
        "template": NAME,
        "margin": MARGIN,  # here as well: in the dashboard, Streamlit's margins win over a template's
        "height": height,
        "xaxis": {"title": {"text": x}},
        "yaxis": {"title": {"text": y}},
    }
    return go.Figure(layout=layout)


def cursor(figure: go.Figure, at_round: int | None) -> go.Figure:
    """A line where the round slider stands."""
    if at_round is not None:
        figure.add_vline(at_round, line={"color": CURSOR, "width": 1.5, "dash": "dot"})
    return figure


def log_axis(figure: go.Figure, *, before: str = "", **which: int) -> None:
    """Make x logarithmic, with ticks at 1, 2 and 5. before: stands before each number. which: Plotly's row and col."""
    ticks = [mantissa * 10.0**power for power in range(-5, 6) for mantissa in (1, 2, 5)]
    figure.update_xaxes(type="log", tickvals=ticks, ticktext=[f"{before}{tick:g}" for tick in ticks], **which)


def band(x: Iterable[float], low: Iterable[float], high: Iterable[float], color: str, alpha: float) -> dict[str, Any]:
    """A band from low to high over x, for `add_scatter`: behind its curve, without a legend or a label of its own."""
    x = list(x)
    return {
        "x": [*x, *x[::-1]], "y": [*high, *list(low)[::-1]], "fill": "toself", "fillcolor": see_through(color, alpha),
        "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False,
    }  # fmt: skip


def see_through(color: str, alpha: float) -> str:
    """#rrggbb with an opacity in [0, 1]."""
    red, green, blue = hex_to_rgb(color)
    return f"rgba({red},{green},{blue},{alpha:g})"
