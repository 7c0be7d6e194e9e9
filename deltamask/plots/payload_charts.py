"""Charts of one payload: what its parts cost, where its flips lie, its false flips, other codecs. Needs plotly."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from deltamask.inspection.codec_comparison import CodecResult
from deltamask.inspection.false_flips import FalseFlips
from deltamask.inspection.part_costs import PartCost
from deltamask.masking.layers import Layer
from deltamask.masking.masks import Positions
from deltamask.plots import template

SENT, FALSE, HELD_BACK, ALL = "#2f7fd1", "#d9641e", "#7d8590", "#1f9e77"
IID, SIDE = "#8a6fd1", "#1f9e77"  # the two entropy bounds, as in the charts of a run
PART_COLORS = {
    "PNG frame": "#57606a",
    "Huffman tables, row starts": "#8c96a3",
    "our header": "#2f7fd1",
    "fields of the code": "#1f9e77",
    "slots in use": "#8a6fd1",
    "filter bytes in use": "#8a6fd1",
    "slots that hold 0": "#c9b8f0",
    "filter bytes that hold 0": "#c9b8f0",
    "verdicts": "#d9641e",
    "padding": "#b8bfc9",
}
BODY_COLOR = "#8a6fd1"
ROWS, COLUMNS = 36, 54  # cells of a layer's map, at most
MAPS = 24  # layers drawn at most


def part_color(part: PartCost) -> str:
    return PART_COLORS.get(part.name, BODY_COLOR)


def part_costs(parts: Sequence[PartCost]) -> go.Figure:
    """One bar, as long as the file, divided into the parts of the payload."""
    figure = template.blank("bytes of the file", "", 130)
    for part in parts:
        figure.add_bar(
            x=[part.bits / 8],
            y=[""],
            name=part.name,
            orientation="h",
            marker={"color": part_color(part), "line": {"width": 1, "color": "white"}},
            hovertemplate=f"{part.name}: %{{x:,.1f}} bytes of the file<extra></extra>",
        )
    # The page draws a legend of its own, which wraps on a narrow screen.
    figure.update_layout(barmode="stack", bargap=0.25, showlegend=False)
    figure.update_yaxes(visible=False)
    return figure


def layer_maps(layers: Sequence[Layer], positions: Positions, color: str, columns: int = 2) -> go.Figure:
    """Each layer's weights as a map: output channels down, all else across, shaded by the share in `positions`."""
    shown = list(layers)[:MAPS]
    rows = math.ceil(len(shown) / columns)
    titles = [_title(layer) for layer in shown]
    figure = make_subplots(rows, columns, subplot_titles=titles, vertical_spacing=0.32 / rows, horizontal_spacing=0.05)
    for index, layer in enumerate(shown):
        counts, cells = layer_cells(layer, positions)
        figure.add_heatmap(
            z=counts / np.maximum(cells, 1),
            customdata=np.dstack([counts, cells]),
            coloraxis="coloraxis",
            hovertemplate="%{customdata[0]} of %{customdata[1]} positions in this cell<extra></extra>",
            row=index // columns + 1,
            col=index % columns + 1,
        )
    figure.update_layout(
        template=template.NAME,
        height=70 + 190 * rows,
        margin={"l": 8, "r": 8, "t": 44, "b": 8},
        coloraxis={
            "colorscale": [[0, template.see_through(color, 0.06)], [1, color]],
            "cmin": 0,
            "colorbar": {"title": "share of<br>positions", "thickness": 10, "tickformat": ".1%"},
        },
    )
    figure.update_annotations(font_size=12)
    figure.update_xaxes(showticklabels=False, showgrid=False, zeroline=False)
    figure.update_yaxes(showticklabels=False, showgrid=False, zeroline=False, autorange="reversed")
    return figure


def layer_cells(layer: Layer, positions: Positions) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(how many of `positions`, how many positions at all) in each cell of a layer's map; rows are output channels."""
    height = layer.shape[0] if layer.shape else 1
    width = max(1, (layer.stop - layer.start) // max(1, height))
    rows, columns = min(ROWS, height), min(COLUMNS, width)
    row_of, column_of = np.arange(height) * rows // height, np.arange(width) * columns // width
    cells = np.outer(np.bincount(row_of, minlength=rows), np.bincount(column_of, minlength=columns))
    low, high = np.searchsorted(positions, (layer.start, layer.stop))
    inside = positions[low:high] - layer.start
    cell = row_of[inside // width] * columns + column_of[inside % width]
    return np.bincount(cell, minlength=rows * columns).reshape(rows, columns), cells


def _title(layer: Layer) -> str:
    name = layer.name.replace("<", "‹").replace(">", "›")[:40]  # plotly reads tags in titles
    return f"{name}<br>{' × '.join(str(n) for n in layer.shape if n > 1)}"  # two lines: columns may be narrow


def false_flips(payloads: Sequence[FalseFlips], shown: FalseFlips | None) -> go.Figure:
    """False flips of a run's payloads as counted, against those expected. shown: the payload that is marked.

    Every payload must have an expected number.
    """
    figure = template.blank("round", "false flips", 330)
    ordered = sorted(payloads, key=lambda payload: payload.round)
    rounds = [payload.round for payload in ordered]
    expected = [payload.expected or 0.0 for payload in ordered]
    for sign, fill in ((1, None), (-1, "tonexty")):
        figure.add_scatter(
            x=rounds,
            y=[value + sign * 2 * math.sqrt(value) for value in expected],
            mode="lines",
            line={"width": 0},
            fill=fill,
            fillcolor="rgba(128,138,155,0.22)",
            name="two standard deviations",
            showlegend=fill is not None,
            hoverinfo="skip",
        )
    figure.add_scatter(x=rounds, y=expected, mode="lines", name="expected", line={"color": HELD_BACK, "dash": "dash"})
    figure.add_scatter(
        x=rounds,
        y=[payload.counted for payload in ordered],
        mode="markers",
        name="counted, a client",
        marker={"color": FALSE, "size": 6, "opacity": 0.75},
        hovertemplate="round %{x}: %{y:,} false flips<extra></extra>",
    )
    if shown is not None:
        figure.add_scatter(
            x=[shown.round],
            y=[shown.counted],
            mode="markers",
            name="this payload",
            marker={"color": FALSE, "size": 13, "line": {"color": "white", "width": 2}},
        )
    return figure


def codec_comparison(results: Sequence[CodecResult], bounds: tuple[float, float], used: str) -> go.Figure:
    """Bits per parameter of the same flips in every codec, least first, with both entropy bounds as lines."""
    ordered = sorted(results, key=lambda result: result.bpp, reverse=True)
    figure = template.blank("bits per parameter (log scale)", "", 90 + 30 * len(ordered))
    figure.add_trace(
        go.Bar(
            x=[result.bpp for result in ordered],
            y=[f"<b>{result.codec}</b>" if result.codec == used else result.codec for result in ordered],
            orientation="h",
            marker={
                "color": [FALSE if result.false_flips else SENT for result in ordered],
                "opacity": [1.0 if result.codec == used else 0.72 for result in ordered],
            },
            text=[
                f"{result.bytes:,} bytes" + (f", {result.false_flips:,} false" if result.false_flips else "")
                for result in ordered
            ],
            textposition="auto",
            customdata=[[result.bits_per_flip] for result in ordered],
            hovertemplate="%{y}: %{x:.4f} bpp, %{customdata[0]:.2f} bits a flip<extra></extra>",
            showlegend=False,
        )
    )
    for value, name, color, dash in (
        (bounds[0], "entropy, knowing only n and d", IID, "dash"),
        (bounds[1], "entropy, given what both sides know", SIDE, "dot"),
    ):
        figure.add_scatter(
            x=[value, value],
            y=[-0.6, len(ordered) - 0.4],
            mode="lines",
            name=f"{name}: {value:.4f}",
            line={"color": color, "dash": dash, "width": 2},
            hoverinfo="name",
        )
    figure.update_xaxes(type="log", tickformat="~g")
    figure.update_yaxes(range=[-0.6, len(ordered) - 0.4])
    return figure
