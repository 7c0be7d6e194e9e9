"""A run as a notebook that makes it again and compares what comes out with what was exported. Needs no torch.

Nothing of the run is code in it: settings and figures are literals, and a name that may be anybody's is text.
"""

from __future__ import annotations

from typing import Any

from deltamask.config import RunConfig
from deltamask.runs.reader import Run

COMPARED = ("accuracy", "uplink_bytes", "downlink_bytes")  # of each round's record
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}

ABOUT = """\
# {name}, made again

`deltamask.run` trains with the settings below, as the exported run did, and the last cells compare each round with what
was exported. It was made with deltamask {version}, revision {revision}; {rounds} of {asked} rounds were finished.

On the same machine and the same versions all figures are the same. Another version of torch, another processor or
another device rounds otherwise, and a mask's bits then differ here and there."""

RUN = """\
from deltamask import RunConfig, run

config = RunConfig({settings})
made = run(config, {out!r})  # goes on from its last round where it was cut short
made"""

CURVES = """\
from deltamask.plots import run_charts

chart = run_charts.accuracy_curves([made], against="rounds")
chart.add_scatter(x=list(exported), y=[figures[0] for figures in exported.values()], name="exported", mode="markers")
chart"""

COMPARE = """\
import pandas as pd

again = {{record["round"]: tuple(record[name] for name in {compared!r}) for record in made.records}}
columns = {compared!r}
difference = pd.DataFrame.from_dict(again, "index", columns=columns) - pd.DataFrame.from_dict(
    exported, "index", columns=columns
)
same = again == exported
print("every round is the same" if same else f"rounds that differ: {{int((difference != 0).any(axis=1).sum())}}")
difference"""


def as_notebook(run: Run) -> dict[str, Any]:
    """The notebook, as JSON of nbformat 4.5."""
    name = run.path.name
    told = {key: run.provenance.get(key) or "unknown" for key in ("deltamask", "git_revision")}
    figures = {record["round"]: tuple(record[field] for field in COMPARED) for record in run.records}
    exported = "".join(f"    {round}: {values!r},\n" for round, values in figures.items())
    about = ABOUT.format(
        name=_text(name), version=_text(told["deltamask"]), revision=_text(told["git_revision"]),
        rounds=max(0, len(run.records) - 1), asked=run.config.rounds,
    )  # fmt: skip
    if run.changes:
        about += "\n\nThe exported run changed midway, so that it cannot be made again as a whole:\n\n"
        about += "\n".join(f"- {_text(line)}" for line in run.changes)
    cells = [
        _cell("markdown", about),
        _cell("code", RUN.format(settings=_settings(run.config), out=f"runs/{run.config.run_id}-again")),
        _cell("code", f"# round: ({', '.join(COMPARED)})\nexported = {{\n{exported}}}"),
        _cell("code", CURVES),
        _cell("code", COMPARE.format(compared=list(COMPARED))),
    ]
    cells = [{**cell, "id": f"cell-{at}"} for at, cell in enumerate(cells)]
    return {"cells": cells, "metadata": {"kernelspec": KERNEL}, "nbformat": 4, "nbformat_minor": 5}


def _settings(config: RunConfig) -> str:
    """The fields that differ from their defaults, as arguments: names are ours, values are literals."""
    changed = {
        name: value for name, value in config.model_dump().items() if value != RunConfig.model_fields[name].default
    }
    return "".join(f"\n    {name}={value!r}," for name, value in changed.items()) + ("\n" if changed else "")


def _cell(kind: str, source: str) -> dict[str, Any]:
    code: dict[str, Any] = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"cell_type": kind, "metadata": {}, "source": source, **code}


def _text(text: str) -> str:
    """Text that is not ours, for a Markdown cell: neither HTML nor Markdown nor TeX."""
    return "".join(letter if letter.isalnum() or letter in " .,-" else f"&#{ord(letter)};" for letter in text)
