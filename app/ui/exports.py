"""Downloads of a run and of a comparison, and the upload of a run folder."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import streamlit as st
from ui.figures import csv, download
from ui.flower_project import project
from ui.style import markdown, menu

from deltamask.base.paths import runs_dir
from deltamask.plots import report
from deltamask.runs import StoreError, export, payloads
from deltamask.runs.import_zip import UnpackError, unpack_run
from deltamask.runs.reader import Run


def draw_run_exports(run: Run) -> None:
    """Everything of one run: rounds, all of it, the folder, its config, and what makes it again."""
    with menu("Export", ":material/ios_share:", "export_run"):
        st.markdown("**The command that makes this run again**")
        st.code(export.command_line(run.config), language="bash", wrap_lines=True)
        with st.container(horizontal=True):
            download("Rounds (CSV)", lambda: _written(run, ".csv"), f"{run.id}.csv", "text/csv")
            download(
                "Everything but payloads (JSON)", lambda: _written(run, ".json"), f"{run.id}.json", "application/json"
            )
            download(
                "Notebook that makes it again", lambda: _written(run, ".ipynb"), f"{run.id}.ipynb",
                "application/x-ipynb+json",
            )  # fmt: skip
            download(
                "Flower project (zip)", lambda: project(run.path.name, run.config), f"{run.id}-flower.zip",
                "application/zip",
            )  # fmt: skip
            download("Config (JSON)", lambda: _config(run), f"{run.id}-config.json", "application/json")
            try:
                payloads.messages(run.path)
                download("The run folder (zip)", lambda: _written(run, ".zip"), f"{run.id}.zip", "application/zip")
            except StoreError as error:
                st.caption(f"The run folder cannot be exported: {markdown(str(error))}")
        _draw_camera()


def draw_comparison_exports(runs: Sequence[Run], round: int) -> None:
    """The comparison as a report, and its data."""
    with menu("Export", ":material/ios_share:", "export_comparison"):
        st.markdown("**The comparison, to show to others**")
        with st.container(horizontal=True):
            download(
                "Report (one HTML file, works offline)", lambda: report.comparison_report(runs, round=round),
                "comparison.html", "text/html",
            )  # fmt: skip
            download(
                "Summary (CSV)", lambda: csv(pd.DataFrame(report.comparison_rows(runs))), "comparison.csv", "text/csv"
            )
            download("Rounds of all runs (CSV)", lambda: csv(_rounds(runs)), "rounds.csv", "text/csv")
            download("Everything (JSON)", lambda: _everything(runs), "comparison.json", "application/json")
        st.markdown("**The commands that make these runs again**")
        st.code("\n".join(export.command_line(run.config) for run in runs), language="bash", wrap_lines=True)
        _draw_camera()


def _draw_camera() -> None:
    st.segmented_control(
        "The camera on each chart saves", ["png", "svg"], key="camera", default="png", required=True,
        help="Point at a chart to see its toolbar. *Table* on each chart has its numbers, and the figure as HTML.",
    )  # fmt: skip


def _written(run: Run, suffix: str) -> bytes:
    with TemporaryDirectory() as place:
        target = Path(place) / f"run{suffix}"
        export.write(run, target)
        return target.read_bytes()


def _config(run: Run) -> str:
    return json.dumps({"config": run.config.model_dump(), **run.provenance}, indent=1)


def _rounds(runs: Sequence[Run]) -> pd.DataFrame:
    return pd.concat([export.rounds_table(run).assign(run=run.id) for run in runs if run.records])


def _everything(runs: Sequence[Run]) -> str:
    return json.dumps([export.as_json(run) for run in runs], indent=1, allow_nan=False)


def draw_upload() -> None:
    """Upload a run folder as zip."""
    st.session_state.setdefault("uploads", 0)
    file = st.file_uploader(
        "Open a run folder (zip)", type="zip", key=f"upload_{st.session_state.uploads}",
        help="What *Export* or `deltamask export` made, anywhere. Every entry is checked before it is written.",
    )  # fmt: skip
    if file is not None:
        try:
            folder = unpack_run(io.BytesIO(file.getvalue()), runs_dir())
        except UnpackError as error:
            st.error(f"This zip was refused: {markdown(str(error))}")
            return
        st.session_state.uploads += 1  # a fresh control, so that the file is not taken twice
        st.session_state.uploaded = folder.name
        st.session_state.upload_said = f"Opened as {folder.name}: every file and every round's sums were checked."
        st.rerun()
    if said := st.session_state.pop("upload_said", None):
        st.success(markdown(said), icon=":material/check:")
