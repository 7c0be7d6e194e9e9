"""Accuracy against bits and against rounds, for one run or for many, with names at the lines' ends."""

from __future__ import annotations

import zlib
from functools import partial

import streamlit as st
from ui import links
from ui.figures import chart

from deltamask.plots import run_charts
from deltamask.plots.line_names import height_for
from deltamask.runs.reader import Run
from deltamask.studies.comparison import Group
from deltamask.studies.forecast import Forecast

WAYS = {"up": "Uplink", "down": "Downlink", "total": "Both"}
PERS = {"so far": "In all", "a round": "A round"}
HEIGHT = 330  # pixels
GHOST = "The hollow point is predicted for the settings in the form, its bars are the prediction's ranges."
DIP = (
    "Why masked methods fall after round 0: its head was made for the network without a mask. From round 1 on a mask "
    "drops weights, and it has learnt little yet."
)


def draw(
    groups: list[Group], round: int, way: str, per: str, *, focus: Run | None = None, name: str = "",
    expected: Forecast | None = None,
) -> None:  # fmt: skip
    """Accuracy against bits and against rounds, side by side; numbers against bits, numbered names against rounds.

    name: tells the charts of a page apart that has several pairs. expected: of a run that is not there yet.
    """
    runs = [run for group in groups for run in group.runs]
    seeds = any(len(group.runs) > 1 for group in groups)
    suffix = f"_{zlib.crc32(name.encode()):08x}" if name else ""
    smooth = bool(st.session_state.get("smooth"))
    height = max(HEIGHT, height_for(run_charts.numbered_names(groups, focus)))
    drawn = partial(
        run_charts.accuracy_curves, runs, at_round=round, seeds=seeds, focus=focus, smooth=smooth, height=height,
        expected=expected,
    )  # fmt: skip
    left, right = st.columns([5, 6], gap="medium")
    with left:
        figure = drawn(way=way, per=per)
        about = (
            "Bits per parameter and client, log scale: further left is cheaper. What comes after the chosen round is "
            "pale. The numbers are those of the names at the right."
        ) + (f" {GHOST}" if expected else "")
        chart("Accuracy against bits", figure, f"bits_curve{suffix}", about=about, legend=False)
    with right:
        figure = drawn(against="rounds")
        about = f"Test accuracy of the server model after each round. {DIP}"
        if seeds:
            about += " A line is the mean over seeds, its band reaches from the lowest to the highest."
        chart("Accuracy against rounds", figure, f"rounds_curve{suffix}", about=about, legend=False)


def draw_measure() -> tuple[str, str]:
    """Which bits the curves are drawn against: (way, per)."""
    links.choice("way", list(WAYS), "up")
    links.choice("per", list(PERS), "so far")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        way = st.segmented_control(
            "Bits", list(WAYS), key="way", format_func=WAYS.__getitem__, required=True,
            help="What clients send, what the server sends to each, or both together.",
        )  # fmt: skip
        per = st.segmented_control(
            "Counted", list(PERS), key="per", format_func=PERS.__getitem__, required=True,
            help="Everything so far, round 0 included; or the mean over the rounds after 0.",
        )  # fmt: skip
        st.toggle("Smooth", key="smooth", help=f"Means of {run_charts.SMOOTHED} rounds, above each round's pale line.")
    links.write(way=None if way == "up" else way, per=None if per == "so far" else per)
    return way or "up", per or "so far"  # a session that is ending has neither
