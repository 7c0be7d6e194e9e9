"""A comparison as one HTML file that needs no network: curves, table, pictures, and the command lines.

Needs plotly and jinja2. The page is `report.html.j2`, in which every value is escaped: a run's name may be anybody's.
The gallery (`gallery.py`) is made of the same parts.
"""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from deltamask.plots import pictures, run_charts
from deltamask.plots.template import PAPER
from deltamask.runs import StoreError, export
from deltamask.runs.reader import Run
from deltamask.studies.comparison import differing, group_by_seed

SUMMARY = {
    "state": "state", "rounds": "rounds", "accuracy": "accuracy, last ten", "worst_client": "worst client",
    "bpp_up": "bpp up a round", "bpp_down": "bpp down a round", "bpp_up_total": "bpp up in all",
    "bpp_down_total": "bpp down in all", "uplink_bytes": "bytes up in all",
}  # fmt: skip


class Chart(NamedTuple):
    """A figure in the page. name: of the file that it is saved as."""

    heading: str
    name: str
    html: Markup


def figure_page(figure: go.Figure, title: str) -> str:
    """One figure as an HTML file of its own, with buttons that save it as PNG and SVG."""
    return template("report.html.j2").render(title=title, charts=[draw("", "figure", figure, embed=True)], runs=())


def comparison_report(runs: Sequence[Run], *, round: int | None = None) -> str:
    """The report on some runs as HTML. round: the one whose pictures are shown, by default the last that all have.

    Names are escaped; Plotly is in the file once.
    """
    last = min((run.records[-1]["round"] for run in runs if run.records), default=0)
    shown = last if round is None else min(round, last)
    by_bits = run_charts.accuracy_curves(runs, seeds=True)
    by_rounds = run_charts.accuracy_curves(runs, against="rounds", seeds=True)
    pareto = run_charts.pareto(group_by_seed(runs))
    named, faults = [], []
    for run in runs:
        try:
            picture = pictures.first_message(run, shown)
            named += [(run.id, picture)] if picture else []
        except StoreError:
            faults.append(f"{run.id}: the payload cannot be read.")
    return template("report.html.j2").render(
        title="DeltaMask Explorer: a comparison",
        charts=[
            draw("Accuracy against bits", "accuracy-bits", by_bits, embed=True),
            draw("Accuracy against rounds", "accuracy-rounds", by_rounds),
            draw("Who gives more for fewer bits", "pareto", pareto),
        ],
        rows=comparison_rows(runs),
        round=shown,
        pictures=pictures.to_scale(named),
        faults=faults,
        runs=[{"id": run.id, "command": export.command_line(run.config), "origin": _origin(run)} for run in runs],
    )


def comparison_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """One row a run: what its config does not share with the others, then its headline figures."""
    fields = differing([run.config for run in runs])
    rows = []
    for run in runs:
        figures = {"state": run.state, **run.summary()}
        settings = {field: getattr(run.config, field) for field in fields}
        rows.append({"run": run.id, **settings, **{words: figures[name] for name, words in SUMMARY.items()}})
    return rows


@functools.cache
def template(name: str) -> Template:
    """A page of this folder, in which every value is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["cell"] = _cell
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode()
    return environment.get_template(name)


def draw(heading: str, name: str, figure: go.Figure, *, embed: bool = False) -> Chart:
    """A figure for a page. embed: put Plotly itself into the page; the first chart must."""
    figure = go.Figure(figure).update_layout(template=PAPER)
    drawn = figure.to_html(full_html=False, include_plotlyjs=embed, config={"displaylogo": False}, div_id=name)
    return Chart(heading, name, Markup(drawn))  # Plotly writes names as JSON in which <, > and / are escaped


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _origin(run: Run) -> str:
    return json.dumps({"state": run.state, **run.provenance, "config": run.config.model_dump()}, indent=1)
