"""A chart with its table and its downloads."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from deltamask.plots import chart_table, report
from deltamask.runs.export import csv_text

TEXTS = {"light": "#4a5362", "dark": "#b9c1ce"}  # of charts, by the page's theme


def chart(title: str, figure: go.Figure, key: str, *, about: str, legend: bool = True) -> None:
    """Draw a chart under its title, with a button that shows the numbers it draws below it.

    about: what the chart shows, also for who cannot see it. legend: leave it off where several charts share one.
    """
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", gap="small"):
        st.markdown(f"**{title}**", help=about, width="content")
        shown = st.session_state.get(f"table_{key}", False)
        st.button(
            "Hide table" if shown else "Table", icon=":material/table_rows:", type="tertiary", key=f"open_{key}",
            on_click=_show_table, args=(key, not shown),
        )  # fmt: skip
    if not legend:
        figure.update_layout(showlegend=False)
    _make_readable(figure)
    st.plotly_chart(figure, key=key, config=_config(key), alt=f"{title}. {about}")
    if shown:
        _table(title, figure, key)


def _show_table(key: str, shown: bool) -> None:
    st.session_state[f"table_{key}"] = shown


def _make_readable(figure: go.Figure) -> None:
    """Give every text of a chart the contrast of text, 4.5 to 1, on the page that it stands on."""
    color = TEXTS.get(str(st.context.theme.type))
    if color is None:  # the browser has not said yet
        return
    figure.update_layout(font={"color": color}, legend={"font": {"color": color}})
    for update in (figure.update_xaxes, figure.update_yaxes):
        update(tickfont={"color": color}, title={"font": {"color": color}})
    figure.for_each_annotation(lambda note: note.font.color or note.update(font={"color": color}))


def _config(name: str) -> dict[str, Any]:
    """The chart's own toolbar: its camera saves what the page's export asks for."""
    return {
        "displaylogo": False,
        "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
        "toImageButtonOptions": {"format": st.session_state.get("camera") or "png", "filename": name, "scale": 2},
    }


def _table(title: str, figure: go.Figure, key: str) -> None:
    table = chart_table.as_table(figure)
    narrow = {
        str(name): st.column_config.Column(width="small") for name in table.select_dtypes("number")
    }  # all in sight
    st.dataframe(table, hide_index=True, height=320, column_config=narrow, alt=f"{title}, as a table")
    with st.container(horizontal=True):
        download("CSV", csv(table), f"{key}.csv", "text/csv")
        download("JSON", table.to_json(orient="records"), f"{key}.json", "application/json")
        download(
            "Figure (HTML, saves PNG and SVG)", lambda: report.figure_page(figure, title), f"{key}.html", "text/html"
        )


def download(label: str, data: Any, name: str, mime: str) -> None:
    """A button that hands out a file and leaves the page as it is. data: the content, or what makes it on demand."""
    st.download_button(
        label, data, name, mime, key=f"get_{name}", icon=":material/download:", type="tertiary", on_click="ignore"
    )


def csv(table: pd.DataFrame) -> str:
    return csv_text(table)
