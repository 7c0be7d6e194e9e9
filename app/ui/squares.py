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
from deltamask.studies.forecast import Forecast

WHOLE = 4  # bytes that full fine-tuning sends for each weight
LEAST = 2  # pixels: a smaller square would not be seen


def draw(groups: Sequence[Group], round: int, focus: Run, expected: Forecast | None = None) -> None:
    """The squares of a round, by size. An area is bytes: the outline is 4 bytes for each of the focus run's weights.

    expected: of a run that is not there yet, whose square is hollow.
    """
    d = focus.task.get("d")
    sent = [group.message_bytes(round) for group in groups]
    if not d:
        return
    looks = palette.styles([group.config for group in groups], focus=focus.config)
    rows = [
        (size, name, color, False)
        for size, name, (color, *_) in zip(sent, run_charts.numbered_names(groups, focus), looks, strict=True)
        if size is not None
    ]
    if expected and expected.message:
        rows.append((expected.message.value, "predicted", palette.color(expected.config), True))
    st.markdown(
        "**One client's message**", width="content",
        help=f"Area is bytes. The outline is full fine-tuning: {WHOLE} bytes for each of d = {d:,} weights. Each "
        f"square is what one client of a run sent in round {round}, on average over its clients. A hollow "
        "one is predicted for the settings in the form.",
    )  # fmt: skip
    inside = [row for row in sorted(rows) if row[0] < 0.9 * WHOLE * d]
    widest = max((_side(size, d) for size, *_ in inside), default=0.0)
    least = next((size for size, *_, hollow in inside if not hollow), None)
    times = f", {WHOLE * d / least:,.0f} times the smallest square" if least else ""
    about = f"Bytes of one client's message in round {round}"
    whole = f"<p>Full fine-tuning: this whole outline, {byte_size(WHOLE * d)}{times}</p>"
    squares = "".join(_row(*row, side=_side(row[0], d), widest=widest) for row in inside)
    st.html(f'<div class="outline" role="group" aria-label="{about}"><section>{whole}{squares}</section></div>')


def _side(size: float, d: int) -> float:
    """In hundredths of the outline's side, which is as wide as its column."""
    return 100 * math.sqrt(size / (WHOLE * d))


def _row(size: float, name: str, color: str, hollow: bool, *, side: float, widest: float) -> str:
    fill = f"outline:1px dashed {color};outline-offset:-1px" if hollow else f"background:{color}"
    square = f'<i style="width:max({LEAST}px,{side:.2f}cqw);{fill}"></i>'
    told = f"≈ {byte_size(size)}" if hollow else f"{size:,.0f} bytes"
    return (
        f'<div><span style="width:max({LEAST}px,{widest:.2f}cqw)">{square}</span>'
        f"<p><em>{html(name)}</em><br><b>{told}</b></p></div>"
    )
