"""A run that is not there yet, in the charts of those that are: a hollow point with its ranges, marked *predicted*."""

from __future__ import annotations

import plotly.graph_objects as go

from deltamask.plots import palette
from deltamask.plots.template import see_through
from deltamask.studies.forecast import Forecast, Range

NAME = "predicted"


def add(figure: go.Figure, forecast: Forecast, bits: tuple[str, str] | None) -> None:
    """Accuracy of the last rounds against bits, or with no `bits` against rounds; nothing where either is not known.

    bits: (way, per) as for `accuracy_curves`. The bars are the forecast's ranges.
    """
    accuracy, across = forecast.accuracy, forecast.bits(*bits) if bits else None
    if accuracy is None or (bits and across is None):
        return
    color = palette.color(forecast.config)
    figure.add_scatter(
        x=[across.value if across else forecast.config.rounds],
        y=[accuracy.value],
        name=NAME,
        mode="markers+text",
        text=[f"<i>{NAME}</i>"],
        textposition="bottom right",
        textfont={"size": 12, "color": color},
        cliponaxis=False,
        marker={"symbol": "circle-open-dot", "size": 12, "color": color, "line": {"width": 2}},
        error_x=_bars(across, color) if across else None,
        error_y=_bars(accuracy, color),
        hovertemplate=f"accuracy {accuracy.value:.3f}, from {accuracy.low:.3f} to {accuracy.high:.3f}"
        f"<extra>{NAME}, for the settings in the form</extra>",
        showlegend=False,
    )


def _bars(range: Range, color: str) -> dict[str, object]:
    return {
        "type": "data", "symmetric": False, "array": [range.high - range.value],
        "arrayminus": [range.value - range.low], "color": see_through(color, 0.5), "thickness": 1.5, "width": 4,
    }  # fmt: skip
