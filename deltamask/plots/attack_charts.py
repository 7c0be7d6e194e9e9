"""What a client that lies does to accuracy, without protection and with it."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from deltamask.methods import methods
from deltamask.plots import palette
from deltamask.plots.template import blank
from deltamask.studies.attacks import Line

WITHOUT, WITH = palette.FALSE_FLIPS, palette.FLIPS
LOOKS = {"without protection": (WITHOUT, "circle-open"), "with protection": (WITH, "circle")}
ROW = 34  # pixels


def under_attack(found: Sequence[Line]) -> go.Figure:
    """A row a method and attack, in the order of `found`: accuracy over its seeds, with 95 % intervals."""
    rows = list(dict.fromkeys(_row(line) for line in found))
    figure = blank("accuracy, mean of the last ten rounds", "", 90 + ROW * len(rows))
    for name, (color, symbol) in LOOKS.items():
        shown = [line for line in found if bool(line.protection) == (name == "with protection")]
        figure.add_scatter(
            x=[line.accuracy.mean for line in shown],
            y=[_row(line) for line in shown],
            error_x={"type": "data", "array": [line.accuracy.width for line in shown], "thickness": 1.5},
            name=name, mode="markers", marker={"color": color, "symbol": symbol, "size": 10, "line": {"width": 2}},
            customdata=[[line.protection or "none", line.accuracy.of] for line in shown],
            hovertemplate="%{y}<br>accuracy %{x:.4f} of %{customdata[1]} seeds<br>protection: %{customdata[0]}"
            "<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(range=[0, 1])
    figure.update_yaxes(categoryorder="array", categoryarray=rows[::-1], range=[-0.6, len(rows) - 0.4])
    return figure


def _row(line: Line) -> str:
    return palette.plain(f"{methods[line.method].label}: {line.lie.lower()}")
