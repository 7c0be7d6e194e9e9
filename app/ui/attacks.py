"""The prepared view of clients that lie: what the study's tables say of it, and nothing before it was measured."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from ui import style
from ui.figures import chart

from deltamask.plots import attack_charts
from deltamask.runs import StoreError
from deltamask.studies import attacks
from deltamask.studies.attacks import Line

NONE_YET = "Nobody has measured this yet: there are no runs with an attack among the tables of the studies."


@st.cache_data(show_spinner=False, max_entries=4)
def _measured(data: Path, modified: float) -> list[Line]:
    """modified: when the tables were written, so that new ones are read."""
    return attacks.stored(data)


def draw(data: Path) -> None:
    """Accuracy under attack for each method and share of liars, as a chart each and as one table."""
    table = data / "rounds.csv"
    try:
        found = _measured(data, table.stat().st_mtime if table.exists() else 0.0)
    except StoreError as error:
        st.warning(style.markdown(str(error)))
        return
    if not found:
        st.info(NONE_YET)
        return
    st.markdown(f"**What can one client that lies do?** {attacks.finding(found)}")
    st.caption(
        "Each run is compared with the run of the same seed in which everybody is honest and nothing is protected. "
        "Bars are 95 % intervals over seeds. What each attack sends, and what is not promised: docs/threat-model.md."
    )
    shares = list(dict.fromkeys(line.liars for line in found))
    for column, liars in zip(st.columns(len(shares), gap="medium"), shares, strict=True):
        with column:
            figure = attack_charts.under_attack([line for line in found if line.liars == liars])
            about = f"Accuracy of each method under each attack, {liars} clients lying, with protection and without."
            chart(f"Liars: {liars}", figure, f"liars_{liars.replace(' ', '_')}", about=about)
    accuracy = st.column_config.NumberColumn(format="%.4f")
    points = st.column_config.NumberColumn(format="%+.2f")
    rows = [
        {"method": line.setting, "liars": line.liars, "attack": line.lie, "protection": line.protection or "none",
         "accuracy": line.accuracy.mean, "±": line.accuracy.width, "lost, points": line.lost.mean,
         "± points": line.lost.width, "seeds": line.accuracy.of}
        for line in found
    ]  # fmt: skip
    st.dataframe(
        rows, hide_index=True, alt="Accuracy under attack, and what it costs",
        column_config={"accuracy": accuracy, "±": accuracy, "lost, points": points, "± points": points},
    )  # fmt: skip
