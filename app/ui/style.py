"""Legends, menus, and foreign text made fit for a page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from deltamask.plots import palette

METRIC_WIDTH = 165  # pixels: five in a row on a desk, two on a phone


def menu(label: str, icon: str, key: str) -> DeltaGenerator:
    """A button that opens a box to draw in.

    Its content is drawn whether or not it is open. A popover that tells the page when it closes does so after the
    click on another page's link that closed it, and inside a fragment that message leaves the other page blank.
    """
    return st.popover(label, icon=icon, key=key, width="stretch")


def count_table(counts: npt.NDArray[np.int64], classes: Sequence[str], most: int = 30) -> None:
    """Clients by classes as a table whose cells are the darker the more they hold; the first `most` clients."""
    top = max(1, int(counts.max()))
    head = "".join(f"<th>{escape(name)}</th>" for name in classes)
    rows = []
    for client, row in enumerate(counts[:most]):
        cells = "".join(
            f'<td style="background: color-mix(in srgb, {palette.SAMPLES} {8 + 62 * count / top:.0f}%, transparent)" '
            f'title="client {client}, {escape(name)}: {count} samples">{count if len(classes) <= 12 else ""}</td>'
            for name, count in zip(classes, row.tolist(), strict=True)
        )
        rows.append(f"<tr><th>client {client}</th>{cells}</tr>")
    more = f" and {len(counts) - most} more clients" if len(counts) > most else ""
    st.html(f'<table class="split"><tr><th>client</th>{head}</tr>{"".join(rows)}</table>{more}')


def markdown(text: str) -> str:
    """Text that is not ours, for where Markdown is read: a run's name may be anybody's."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]()#+-.!|<>$~:&" else letter for letter in text)


def html(text: str) -> str:
    """Text that is not ours, for where HTML is read."""
    return escape(text)


def link(text: str) -> str:
    """Text that is not ours, for an address."""
    return quote(text, safe="")


def duration(seconds: float) -> str:
    """Seconds for people."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min" if seconds < 5400 else _hours(seconds)


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h"
