"""How every chart is set up: one Plotly template, a variant of it for white paper, and see-through colours."""

from __future__ import annotations

import plotly.graph_objects as go
import plotly.io as pio
from plotly.colors import hex_to_rgb

NAME, PAPER = "deltamask-screen", "deltamask-paper"
GRID = "rgba(128,138,155,0.25)"
TEXT = "#747c88"  # reads on a white page and on a dark one; the dashboard puts its theme's colour in its place

COLORWAY = ("#2f7fd1", "#d9641e", "#1f9e77", "#8a6fd1", "#7d8590", "#b58900")

MARGIN = {"l": 8, "r": 12, "t": 8, "b": 8}  # to the right there is half a tick's label

_AXIS = {"gridcolor": GRID, "linecolor": GRID, "zeroline": False, "automargin": True}
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


def see_through(color: str, alpha: float) -> str:
    """#rrggbb with an opacity in [0, 1]."""
    red, green, blue = hex_to_rgb(color)
    return f"rgba({red},{green},{blue},{alpha:g})"
