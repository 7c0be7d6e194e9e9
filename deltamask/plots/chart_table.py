"""The numbers that a chart draws, so that a table beside it cannot say anything else. Needs plotly."""

from __future__ import annotations

from collections.abc import Iterable
from html import unescape
from typing import Any

import pandas as pd
import plotly.graph_objects as go


def as_table(figure: go.Figure) -> pd.DataFrame:
    """The numbers behind a chart: a row a point, with its curve's name, and its client where points have `ids`; a heat
    map as the matrix it is.

    Names are as they were before `plain` made them fit for a chart.
    """
    first = figure.data[0] if figure.data else None
    if isinstance(first, go.Heatmap):
        return pd.DataFrame(first.z, columns=_texts(first.x), index=_texts(first.y)).rename_axis("").reset_index()
    x, y = (figure.layout[axis].title.text or name for axis, name in (("xaxis", "client"), ("yaxis", "layer")))
    parts = [
        pd.DataFrame({"curve": unescape(trace.name or ""), **_ids(trace), x: _texts(trace.x), y: _texts(trace.y)})
        for trace in figure.data
        if trace.hoverinfo != "skip"
    ]
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["curve", x, y])
    return table if table["curve"].any() else table.drop(columns="curve")


def _ids(trace: Any) -> dict[str, list[str]]:
    return {} if getattr(trace, "ids", None) is None else {"client": list(trace.ids)}


def _texts(values: Iterable[Any]) -> list[Any]:
    return [unescape(value) if isinstance(value, str) else value for value in values]
