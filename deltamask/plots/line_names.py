"""Names at the ends of lines: beside the chart without overlap, or as numbers right where each line ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

LINE, LETTER = 15.0, 7.0  # pixels that a line of a name is high, and a letter wide, at 12 pixels
WIDEST = 26  # letters on one line of a name
AXIS = 62  # pixels of a chart's height that its x axis takes
PLOT = 470.0  # pixels that a chart is about wide: for numbers that must not touch
BADGE = (13.0, 14.0)  # pixels that a number takes


class End(NamedTuple):
    """Where a line ends, in the chart's units. text: fit for a chart. bold: the run in focus."""

    x: float
    y: float
    text: str
    color: str
    bold: bool = False


def spread(wanted: Sequence[float], heights: Sequence[float], low: float, high: float) -> list[float]:
    """Middles for boxes of these heights, in the given order from low to high, none over another: as near to those
    wanted as can be (least squares), and within [low, high] where they have room there.

    wanted: rising. With b_i = the heights below box i, y_i - b_i must not fall: pool what does, and add b_i again.
    """
    room = high - low
    shrink = min(1.0, room / total) if (total := sum(heights)) else 1.0
    heights = [height * shrink for height in heights]
    below = [sum(heights[:at]) + heights[at] / 2 for at in range(len(heights))]
    blocks: list[tuple[float, int]] = []  # (mean, count)
    for value, offset in zip(wanted, below, strict=True):
        mean, count = value - offset, 1
        while blocks and blocks[-1][0] > mean:
            before, many = blocks.pop()
            mean, count = (before * many + mean * count) / (many + count), many + count
        blocks.append((mean, count))
    pooled = [mean for mean, count in blocks for _ in range(count)]
    most = high - sum(heights)
    return [min(max(value, low), max(low, most)) + offset for value, offset in zip(pooled, below, strict=True)]


def beside(figure: go.Figure, ends: Sequence[End], span: tuple[float, float], height: int) -> None:
    """Put each line's name to the right of the chart, as near to its end as there is room; sets the right margin.

    The name has the page's own colour, so that it can be read; a piece of its line stands before it.

    span: of the y axis. height: of the whole chart, in pixels.
    """
    order = sorted(ends, key=lambda end: end.y)
    texts = [wrapped(end.text) for end in order]
    unit = (span[1] - span[0]) / max(1, height - AXIS)
    heights = [unit * LINE * (text.count("<br>") + 1) for text in texts]
    places = spread([end.y for end in order], heights, *span)
    for end, text, place in zip(order, texts, places, strict=True):
        figure.add_annotation(
            x=1, xref="paper", xanchor="left", xshift=6, y=place, yanchor="middle", showarrow=False, align="left",
            text=f'<span style="color:{end.color}"><b>━</b></span> {f"<b>{text}</b>" if end.bold else text}',
            font={"size": 12},
        )  # fmt: skip
    longest = max((len(part) for text in texts for part in text.split("<br>")), default=0)
    figure.update_layout(margin={"r": 30 + round(LETTER * longest) if longest else 12})


def height_for(names: Sequence[str]) -> int:
    """The height, in pixels, of a chart beside which all these names have room."""
    return AXIS + round(LINE * sum(wrapped(name).count("<br>") + 1 for name in names))


def at_ends(figure: go.Figure, ends: Sequence[End], spans: tuple[tuple[float, float], tuple[float, float]],
            height: int) -> None:  # fmt: skip
    """Put a short text right of where each line ends. spans: of x (as log10) and y; x of an end is as in the data."""
    across, up = (spans[0][1] - spans[0][0]) / PLOT, (spans[1][1] - spans[1][0]) / max(1, height - AXIS)
    taken: list[tuple[float, float]] = []
    for end in ends:
        x, y = math.log10(end.x) / across, end.y / up
        tries = sorted((y + step * BADGE[1] / 2 for step in range(-12, 13)), key=lambda place: abs(place - y))
        free = (t for t in tries if all(abs(x - a) >= BADGE[0] or abs(t - b) >= BADGE[1] for a, b in taken))
        y = next(free, y)
        taken.append((x, y))
        figure.add_annotation(
            x=x * across, y=y * up, xanchor="left", yanchor="middle", xshift=3, showarrow=False,
            text=f"<b>{end.text}</b>", font={"color": end.color, "size": 12},
        )  # fmt: skip


def wrapped(text: str) -> str:
    """A name on lines of at most WIDEST letters, where its words allow that."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > WIDEST:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return "<br>".join(lines)
