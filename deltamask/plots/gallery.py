"""The gallery: the prepared comparisons with their curves and sentences, and the transmitted pictures by round, in one
HTML file that needs no server and no network. Needs plotly and jinja2.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from deltamask.plots import pictures, report, run_charts
from deltamask.plots.pictures import Picture
from deltamask.plots.report import Chart
from deltamask.runs.reader import Run
from deltamask.studies import views
from deltamask.studies.comparison import group_by_seed
from deltamask.studies.labels import label

MOST_PICTURES = 2_000_000  # bytes of all pictures; beyond it, only every second round is kept, or every third …

Film = list[tuple[int, Picture]]  # (round, what the first client sent), by round


def gallery(runs: Sequence[Run]) -> str:
    """The page on these runs, those of the studies' tables among them. StoreError if a payload cannot be read.

    A view of which none of the runs is a part is left out. Plotly is in the file once.
    """
    shown: list[dict[str, Any]] = []
    for name in views.ordered():
        if chosen := views.prepared(name, runs):
            shown.append(_view(name, chosen, embed=not shown))
    films = {run.id: (run, film) for run in runs if (film := film_of(run))}
    step = step_for([film for _, film in films.values()])
    thinned = [[each for each in film if (each[0] - 1) % step == 0] for _, film in films.values()]
    last = max((film[-1][0] for film in thinned), default=1)
    return report.template("gallery.html.j2").render(
        title="DeltaMask Explorer: what has been measured",
        views=shown,
        runs=[{"name": f"{label(run)} · {run.id}"} for run, _ in films.values()],
        pictures=_to_scale(thinned),
        last=last,
        shown=1 + last // 2 // step * step,
        step=step,
    )


def _view(name: str, runs: Sequence[Run], *, embed: bool) -> dict[str, Any]:
    groups, view = group_by_seed(runs), views.get(name)
    by_bits = run_charts.accuracy_curves(runs, seeds=True)
    by_rounds = run_charts.accuracy_curves(runs, against="rounds", seeds=True)
    charts: list[Chart] = [
        report.draw("", f"{name}-bits", by_bits, embed=embed), report.draw("", f"{name}-rounds", by_rounds)
    ]  # fmt: skip
    sentence = view.finds(groups, run_charts.group_names(groups))
    return {"name": name, "title": view.title, "asks": view.asks, "sentence": sentence, "charts": charts}


def film_of(run: Run) -> Film:
    """What the first client of each round after the head's sent, where it was kept. StoreError if it cannot be read."""
    first: dict[int, Picture] = {}
    for payload in run.payloads():
        if payload.round and payload.round not in first:
            first[payload.round] = pictures.draw(payload)
    return sorted(first.items())


def step_for(films: Sequence[Film]) -> int:
    """Every how many-th round can be kept so that all pictures together stay within MOST_PICTURES bytes."""
    last = max((film[-1][0] for film in films), default=1)
    for step in range(1, last):
        sizes = (len(each.png) for film in films for round, each in film if (round - 1) % step == 0)
        if sum(sizes) <= MOST_PICTURES:
            return step
    return last


def _to_scale(films: Sequence[Film]) -> list[list[dict[str, Any]]]:
    """All pictures at one scale, as what the page's script reads."""
    sized = iter(pictures.to_scale([("", each) for film in films for _, each in film]))
    return [
        [
            {"round": round, "sent": each.sent, "side": next(sized).side, "png": base64.b64encode(each.png).decode()}
            for round, each in film
        ]
        for film in films
    ]
