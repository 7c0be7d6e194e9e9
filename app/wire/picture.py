"""The picture under the glass: a canvas that shows the PNG as it was sent, and tells which pixel was chosen."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from deltamask.codecs.wire import png
from deltamask.inspection.anatomy import Glass
from deltamask.inspection.filter_lookup import BloomFilter

HERE = Path(__file__).parent
HTML = """<div class="frame">
  <div class="bar"><span class="tools">
    <button class="out" aria-label="Zoom out">−</button><button class="in" aria-label="Zoom in">+</button>
    <button class="whole">whole</button><button class="find">to the pixel</button></span>
    <span class="legend"></span></div>
  <canvas tabindex="0" role="img" aria-label="The payload as a picture"></canvas>
  <div class="status" aria-live="polite"></div>
  <div class="keys">Click a pixel. With the keyboard: arrows, Enter chooses, + and − zoom, 0 shows all.</div>
</div>"""
SLOT_COLORS = ("#8a6fd1", "#1f9e77", "#2f7fd1")  # of h0, h1, h2, here and in the lookup's steps
LEGEND = {"header": ("#2f7fd1", "our header"), "field": ("#1f9e77", "fields"), "padding": ("#7d8590", "padding")}

_view = st.components.v2.component(
    "payload_glass",
    html=HTML,
    css=(HERE / "anatomy.css").read_text(),
    js=(HERE / "anatomy.js").read_text(),
)


def draw(
    glass: Glass, selected: int | None, marks: Sequence[tuple[int, int, str]], label: str, on_pick: Callable[[], None]
) -> None:
    """The picture. marks: (start, stop, colour) of bytes to frame. on_pick: called after `picked()` has a new value."""
    roles = {section.role for section in glass.sections if section.stop > section.start}
    # What is no picture is drawn as one, by the same writer.
    shown = glass.payload if glass.picture else png.write(glass.pixels)
    data: dict[str, Any] = {
        "png": base64.b64encode(shown).decode(),
        "width": glass.width,
        "height": glass.height,
        "sections": [vars(section) for section in glass.sections],
        "slot_bytes": glass.slot_bytes,
        "slot_bits": isinstance(glass.filter, BloomFilter),
        "selected": selected,
        "marks": [{"start": start, "stop": stop, "color": color} for start, stop, color in marks],
        "legend": [LEGEND[role] for role in LEGEND if role in roles],
        "label": label,
    }
    _view(data=data, key="glass", on_picked_change=on_pick)


def picked() -> int | None:
    """The pixel that was chosen last."""
    state = st.session_state.get("glass")
    value = getattr(state, "picked", None) if state is not None else None
    return value if isinstance(value, int) else None
