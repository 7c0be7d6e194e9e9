"""A comparison as one HTML file that needs no network: curves, table, pictures, and the command lines. Needs plotly."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from deltamask.plots import pictures, run_charts
from deltamask.plots.template import PAPER
from deltamask.runs import export
from deltamask.runs.reader import Run
from deltamask.studies.comparison import differing, group_by_seed

SUMMARY = {
    "state": "state", "rounds": "rounds", "accuracy": "accuracy, last ten", "worst_client": "worst client",
    "bpp_up": "bpp up a round", "bpp_down": "bpp down a round", "bpp_up_total": "bpp up in all",
    "bpp_down_total": "bpp down in all", "uplink_bytes": "bytes up in all",
}  # fmt: skip
STYLE = """
body {font: 16px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; color: #171d2b;
  background: #fff}
table {border-collapse: collapse; font-size: .85rem; display: block; overflow-x: auto; margin: 1rem 0}
th, td {padding: .3rem .6rem; border-bottom: 1px solid #d5dbe6; text-align: right; white-space: nowrap}
th:first-child, td:first-child {text-align: left}
pre {background: #f3f5f9; padding: .6rem; overflow-x: auto; font-size: .8rem}
figure {display: inline-block; margin: 0 1rem 1rem 0; vertical-align: bottom}
figure img {image-rendering: pixelated; border: 1px solid #d5dbe6; display: block}
figcaption, .note {font-size: .8rem; color: #4d5870}
.save button {font: inherit; font-size: .8rem; margin: 0 .4rem 1rem 0}
"""
SAVE = """
document.querySelectorAll('.save').forEach(box => ['png', 'svg'].forEach(format => {
  const button = document.createElement('button');
  button.textContent = 'Save as ' + format.toUpperCase();
  button.onclick = () => Plotly.downloadImage(box.previousElementSibling.querySelector('.js-plotly-plot'),
    {format: format, scale: format === 'png' ? 2 : 1, width: 1000, height: 560, filename: box.dataset.name});
  box.append(button);
}));
"""


def figure_page(figure: go.Figure, title: str) -> str:
    """One figure as an HTML file of its own, with buttons that save it as PNG and SVG."""
    return _page(title, f"<h1>{escape(title)}</h1>" + _figure(figure, "figure", embed=True))


def comparison_report(runs: Sequence[Run], *, round: int | None = None) -> str:
    """The report on some runs as HTML. round: the one whose pictures are shown, by default the last that all have.

    Names are escaped; Plotly is in the file once.
    """
    last = min((run.records[-1]["round"] for run in runs if run.records), default=0)
    shown = last if round is None else min(round, last)
    groups = group_by_seed(runs)
    parts = [
        "<h1>DeltaMask Explorer: a comparison</h1>",
        "<p>Every figure comes from bytes that were really encoded and decoded and from training that really ran. "
        "bpp: bits per parameter and client, 8 × bytes / d. Bands and bars reach from the lowest to the highest seed."
        "</p>",
        "<h2>Accuracy against bits</h2>",
        _figure(run_charts.accuracy_curves(runs, seeds=True), "accuracy-bits", embed=True),
        "<h2>Accuracy against rounds</h2>",
        _figure(run_charts.accuracy_curves(runs, against="rounds", seeds=True), "accuracy-rounds"),
        "<h2>Who gives more for fewer bits</h2>",
        _figure(run_charts.pareto(groups), "pareto"),
        "<h2>Runs, and where they differ</h2>",
        _table(comparison_rows(runs)),
        f"<h2>What one client sent in round {shown}</h2><p class=note>All at one scale: area is bytes.</p>",
        *_pictures(runs, shown),
        "<h2>How to make them again</h2>",
        *(_origin(run) for run in runs),
    ]
    return _page("DeltaMask Explorer: a comparison", "\n".join(parts))


def comparison_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """One row a run: what its config does not share with the others, then its headline figures."""
    fields = differing([run.config for run in runs])
    rows = []
    for run in runs:
        figures = {"state": run.state, **run.summary()}
        settings = {field: getattr(run.config, field) for field in fields}
        rows.append({"run": run.id, **settings, **{words: figures[name] for name, words in SUMMARY.items()}})
    return rows


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body>{body}<script>{SAVE}</script></body></html>"
    )


def _figure(figure: go.Figure, name: str, *, embed: bool = False) -> str:
    figure = go.Figure(figure).update_layout(template=PAPER)
    drawn = figure.to_html(full_html=False, include_plotlyjs=embed, config={"displaylogo": False}, div_id=name)
    return f'<div>{drawn}</div><div class="save" data-name="{name}"></div>'


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    head = "".join(f"<th>{escape(str(name))}</th>" for name in rows[0])
    body = ["".join(f"<td>{escape(_cell(value))}</td>" for value in row.values()) for row in rows]
    return f"<table><tr>{head}</tr>" + "".join(f"<tr>{row}</tr>" for row in body) + "</table>"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _pictures(runs: Sequence[Run], round: int) -> list[str]:
    drawn = pictures.to_scale([(run.id, payloads[0].path) for run in runs if (payloads := run.payloads(round))])
    return [
        f'<figure><img alt="" width="{picture.side}" src="data:image/png;base64,'
        f'{base64.b64encode(picture.png).decode()}"><figcaption>{escape(picture.name)}<br>{picture.sent:,} bytes'
        "</figcaption></figure>"
        for picture in drawn
    ]


def _origin(run: Run) -> str:
    told = {"state": run.state, **run.provenance, "config": run.config.model_dump()}
    return (
        f"<h3>{escape(run.id)}</h3><pre>{escape(export.command_line(run.config))}</pre>"
        f"<details><summary>Config and provenance</summary><pre>{escape(json.dumps(told, indent=1))}</pre></details>"
    )
