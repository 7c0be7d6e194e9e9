"""What one client of each method sends in a round, as squares to one scale inside the outline of full fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Sequence

import streamlit as st
from ui.style import html

from deltamask.base.units import byte_size
from deltamask.plots import palette, run_charts
from deltamask.runs.reader import Run
from deltamask.studies.comparison import Group

SIDE = 330  # screen pixels of the outline
WHOLE = 4  # bytes that full fine-tuning sends for each weight
LEAST = 2.0  # pixels: a smaller square would not be seen


def draw(groups: Sequence[Group], round: int, focus: Run) -> None:
    """The squares of a round, by size. An area is bytes: the outline is 4 bytes for each of the focus run's weights."""
    d = focus.task.get("d")
    sent = [group.message_bytes(round) for group in groups]
    if not d:
        return
    looks = palette.styles([group.config for group in groups], focus=focus.config)
    rows = [
        (size, name, color)
        for size, name, (color, *_) in zip(sent, run_charts.numbered_names(groups, focus), looks, strict=True)
        if size is not None
    ]
    st.markdown(
        "**One client's message**", width="content",
        help=f"Area is bytes. The outline is full fine-tuning: {WHOLE} bytes for each of d = {d:,} weights. Each "
        f"square is what one client of a run sent in round {round}, on average over its clients.",
    )  # fmt: skip
    inside = [row for row in sorted(rows) if row[0] < 0.9 * WHOLE * d]
    widest = max((_side(size, d) for size, *_ in inside), default=LEAST)
    least = inside[0][0] if inside else None
    times = f", {WHOLE * d / least:,.0f} times the smallest square" if least else ""
    about = f"Bytes of one client's message in round {round}"
    frame = f'<div class="outline" style="width:{SIDE}px;min-height:{SIDE}px" role="group" aria-label="{about}">'
    whole = f"<p>Full fine-tuning: this whole outline, {byte_size(WHOLE * d)}{times}</p>"
    st.html(frame + whole + "".join(_row(*row, side=_side(row[0], d), widest=widest) for row in inside) + "</div>")


def _side(size: float, d: int) -> float:
    return max(LEAST, SIDE * math.sqrt(size / (WHOLE * d)))


def _row(size: float, name: str, color: str, *, side: float, widest: float) -> str:
    return (
        f'<div><span style="width:{widest:.1f}px"><i style="width:{side:.1f}px;height:{side:.1f}px;background:{color}">'
        f"</i></span><p><em>{html(name)}</em><br><b>{size:,.0f} bytes</b></p></div>"
    )
