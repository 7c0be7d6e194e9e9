"""The charts of a run draw what its record holds, in the one template."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from deltamask.base.paths import recorded_dir
from deltamask.plots import client_charts, run_charts, template
from deltamask.runs.reader import Run, load_run
from deltamask.studies.comparison import group_by_seed

ROUND = 12


@pytest.fixture(scope="module")
def run() -> Run:
    return load_run(recorded_dir() / "fashion")


def test_clients_from_worst_to_best(run: Run) -> None:
    table = run_charts.as_table(client_charts.client_accuracies(run, ROUND))
    clients = sorted(run.records[ROUND]["clients"], key=lambda client: client["accuracy"])
    assert table["client"].tolist() == [str(client["client"]) for client in clients]
    assert table["accuracy for the client"].tolist() == [client["accuracy"] for client in clients]


def test_spread_has_the_best_and_the_worst_of_each_round(run: Run) -> None:
    curves = {curve.name: list(curve.y) for curve in client_charts.client_spread(run, at_round=ROUND).data}
    accuracies = [[client["accuracy"] for client in record["clients"]] for record in run.records]
    assert curves["best client"] == [max(each) for each in accuracies]
    assert curves["worst client"] == [min(each) for each in accuracies]
    assert curves["mean over clients"] == pytest.approx([np.mean(each) for each in accuracies])


def test_split_is_a_matrix_with_escaped_names() -> None:
    counts = np.array([[3, 4], [5, 6]])
    figure = client_charts.label_split(counts, ["<b>bag", "coat"])
    assert figure.data[0].x[0] == "&lt;b&gt;bag"
    table = run_charts.as_table(figure)
    assert table.columns.tolist() == ["", "<b>bag", "coat"]
    assert table.to_numpy().tolist() == [["client 0", 3, 4], ["client 1", 5, 6]]


def test_flips_of_a_layer_are_a_share_of_its_weights(run: Run) -> None:
    bars = run_charts.flips_by_layer(run, ROUND).data[0]
    sizes = {layer["name"]: layer["stop"] - layer["start"] for layer in run.task["layers"]}
    kept = run.records[ROUND]["kept_by_layer"]
    assert dict(zip(bars.y, bars.x, strict=True)) == pytest.approx(
        {name: count / (len(run.records[ROUND]["clients"]) * sizes[name]) for name, count in kept.items()}
    )


def test_stages_add_up_to_the_round(run: Run) -> None:
    bars = run_charts.seconds_by_stage(run).data
    assert [sum(bar.y[ROUND] for bar in bars)] == pytest.approx([sum(run.records[ROUND]["seconds"].values())])


def test_all_charts_have_the_template_and_room_for_the_last_tick(run: Run) -> None:
    figures: list[go.Figure] = [
        run_charts.accuracy_curves([run]), run_charts.pareto(group_by_seed([run])), run_charts.bits_by_round(run),
        run_charts.flips_by_round(run), run_charts.flips_by_layer(run, ROUND), run_charts.seconds_by_stage(run),
        client_charts.client_spread(run), client_charts.client_accuracies(run, ROUND),
    ]  # fmt: skip
    for figure in figures:
        assert figure.layout.template.layout.uirevision == "keep"
        assert figure.layout.margin.r == template.MARGIN["r"] > 0  # Streamlit's template says 0, and wins over ours


def test_see_through_colours() -> None:
    assert template.see_through("#2f7fd1", 0.06) == "rgba(47,127,209,0.06)"
