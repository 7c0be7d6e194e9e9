"""Accuracy against bits and against rounds, for one run or for many, with one legend."""

from __future__ import annotations

import streamlit as st
from ui import links, style
from ui.figures import chart

from deltamask.plots import run_charts
from deltamask.studies.comparison import Group

WAYS = {"up": "Uplink", "down": "Downlink", "total": "Both"}
PERS = {"so far": "In all", "a round": "A round"}


def draw(groups: list[Group], round: int, *, numbered: bool = False) -> tuple[str, str]:
    """Accuracy against bits and against rounds, with one legend, whose numbers other charts may use; against which
    bits: (way, per)."""
    runs = [run for group in groups for run in group.runs]
    seeds = any(len(group.runs) > 1 for group in groups)
    way, per = _draw_measure()
    style.legend(groups, run_charts.numbered_names(groups) if numbered else run_charts.group_names(groups))
    left, right = st.columns(2, gap="medium")
    unit = "Bits per parameter and client, log scale. What comes after the chosen round is pale."
    with left:
        figure = run_charts.accuracy_curves(runs, way=way, per=per, at_round=round, seeds=seeds)
        chart("Accuracy against bits", figure.update_layout(height=360), "bits_curve", about=unit, legend=False)
    with right:
        figure = run_charts.accuracy_curves(runs, against="rounds", at_round=round, seeds=seeds)
        about = "Test accuracy of the server model after each round."
        chart("Accuracy against rounds", figure.update_layout(height=360), "rounds_curve", about=about, legend=False)
    return way, per


def _draw_measure() -> tuple[str, str]:
    """Which bits the curves are drawn against: (way, per)."""
    links.choice("way", list(WAYS), "up")
    links.choice("per", list(PERS), "so far")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        way = st.segmented_control(
            "Bits", list(WAYS), key="way", format_func=WAYS.__getitem__, required=True,
            help="What clients send, what the server sends to each, or both together.",
        )  # fmt: skip
        per = st.segmented_control(
            "Counted", list(PERS), key="per", format_func=PERS.__getitem__, required=True,
            help="Everything so far, round 0 included; or the mean over the rounds after 0.",
        )  # fmt: skip
    links.write(way=None if way == "up" else way, per=None if per == "so far" else per)
    return way or "up", per or "so far"  # a session that is ending has neither
