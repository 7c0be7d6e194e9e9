"""A budget to drag: the best run within so many bits, with its interval and its worst client."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st
from ui import style

from deltamask.plots import run_charts
from deltamask.studies.comparison import Group, best_within
from deltamask.studies.tables import half_width

STEPS = 24
USUAL = 0.1  # bpp a round: what the paper promises


def draw(groups: Sequence[Group], way: str, per: str) -> float | None:
    """The slider, and who is best within it; returns the budget in bpp, None where there is nothing to choose from."""
    column = run_charts.bits_column(way, per)
    bits = [bpp for group in groups if (bpp := group.summary().get(column))]
    if len(bits) < 2:
        return None
    low, high = np.log10(min(bits)), np.log10(max(bits))
    options = [float(f"{10**at:.3g}") for at in np.linspace(low - 0.05, high + 0.05, STEPS)]
    key = f"budget_{way}_{per}"
    usual = USUAL if per == "a round" else USUAL * max(group.summary()["rounds"] for group in groups)
    before = st.session_state.get(key, usual)
    st.session_state[key] = min(options, key=lambda option: abs(np.log(option / before)))
    words = f"{run_charts.WAY_WORDS[way]} {per}"
    budget = float(
        st.select_slider(
            f"Budget: bits per parameter and client, {words}", options, key=key, format_func=lambda bpp: f"{bpp:g}",
            help="Drag it: the line in the chart goes along, and the best run left of it is named.",
        )
    )  # fmt: skip
    best = best_within(groups, budget, column)
    if best is None:
        st.markdown(f"No run here stays within {budget:g} bpp.")
        return budget
    name = run_charts.numbered_names(groups)[list(groups).index(best)]
    summary, seeds = best.summary(), len(best.runs)
    around = half_width(np.array([run.summary()["accuracy"] for run in best.runs], float))
    sure = f" ± {around:.4f} (95 %, {seeds} seeds)" if np.isfinite(around) else " (one seed: no interval)"
    worst = "" if summary["worst_client"] is None else f", worst client {summary['worst_client']:.4f}"
    st.markdown(
        f"Within **{budget:g} bpp** {words}: **{style.markdown(name)}**, accuracy "
        f"{summary['accuracy']:.4f}{sure}{worst}, at {summary[column]:.3g} bpp."
    )
    return budget
