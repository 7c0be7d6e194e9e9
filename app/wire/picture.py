"""The payload as a picture: a canvas that shows the PNG as it was sent, and reports which pixel was chosen."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from deltamask.codecs.wire import png
from deltamask.inspection.anatomy import Anatomy
from deltamask.inspection.filter_lookup import BloomFilter

FOLDER = Path(__file__).parent
KEY = "wire_picture"
HTML = """<div class="frame">
  <div class="bar"><span class="tools">
    <button class="out" aria-label="Zoom out">−</button><button class="in" aria-label="Zoom in">+</button>
    <button class="whole">whole</button><button class="find">to the pixel</button></span>
    <span class="legend"></span></div>
  <canvas tabindex="0" role="img" aria-label="The payload as a picture"></canvas>
  <div class="status" aria-live="polite"></div>
  <div class="keys">Click a pixel. With the keyboard: arrows, Enter chooses, + and − zoom, 0 shows all.</div>
</div>"""
SLOT_COLORS = ("#8a6fd1", "#1f9e77", "#2f7fd1")  # of h0, h1, h2, in the picture and in the lookup's steps
LEGEND = {"header": ("#2f7fd1", "our header"), "field": ("#1f9e77", "fields"), "padding": ("#7d8590", "padding")}

_component = st.components.v2.component(
    "payload_picture",
    html=HTML,
    css=(FOLDER / "picture.css").read_text(),
    js=(FOLDER / "picture.js").read_text(),
)


def draw(
    anatomy: Anatomy, selected: int, marks: Sequence[tuple[int, int, str]], label: str, on_pick: Callable[[], None]
) -> None:
    """The picture. marks: (start, stop, colour) of bytes to frame. on_pick: called after `picked()` has a new value."""
    roles = {section.role for section in anatomy.sections if section.stop > section.start}
    # A message that is sent as it is becomes a picture only to be drawn.
    shown = anatomy.payload if anatomy.is_picture else png.write(anatomy.pixels)
    data: dict[str, Any] = {
        "png": base64.b64encode(shown).decode(),
        "width": anatomy.width,
        "height": anatomy.height,
        "sections": [vars(section) for section in anatomy.sections],
        "slot_bytes": anatomy.slot_bytes,
        "slot_bits": isinstance(anatomy.filter, BloomFilter),
        "selected": selected,
        "marks": [{"start": start, "stop": stop, "color": color} for start, stop, color in marks],
        "legend": [LEGEND[role] for role in LEGEND if role in roles],
        "label": label,
    }
    _component(data=data, key=KEY, on_picked_change=on_pick)


def picked() -> int | None:
    """The pixel that was chosen last."""
    value = getattr(st.session_state.get(KEY), "picked", None)
    return value if isinstance(value, int) else None
