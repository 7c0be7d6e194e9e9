"""The charts of a run draw what its record holds, in the one template."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from deltamask.base.paths import recorded_dir
from deltamask.config import RunConfig
from deltamask.plots import chart_table, client_charts, run_charts, template
from deltamask.runs.folder import RunFolder, write_json
from deltamask.runs.reader import Run, load_run
from deltamask.studies.comparison import group_by_seed
from tests.support.records import TASK, record

ROUND = 12


@pytest.fixture(scope="module")
def run() -> Run:
    return load_run(recorded_dir() / "fashion")


def test_clients_from_worst_to_best(run: Run) -> None:
    table = chart_table.as_table(client_charts.client_accuracies(run, ROUND))
    clients = sorted(run.records[ROUND]["clients"], key=lambda client: client["accuracy"])
    assert table["client"].tolist() == [str(client["client"]) for client in clients]
    assert table["accuracy for the client"].tolist() == [client["accuracy"] for client in clients]


def compared(tmp_path: Path) -> Run:
    """Three clients by hand, whose lone models are in round 0's record."""
    folder = RunFolder.create(tmp_path / "run", RunConfig(rounds=1, clients=3, compare_alone=True))
    fares = {"client_accuracy": [0.5, 0.25, 0.75], "client_accuracy_adapted": None, "alone": [0.6, 0.1, 0.7]}
    folder.append(record(0, class_accuracy=[0.5, None], **fares))
    write_json(folder.path / "task.json", {**TASK, "label_counts": [[5, 5], [2, 8], [20, 0]]})
    return load_run(folder.path)


def test_joined_or_alone_has_every_client_and_its_table_names_it(tmp_path: Path) -> None:
    run = compared(tmp_path)
    table = chart_table.as_table(client_charts.joined_or_alone(run, 0))
    assert table.columns.tolist() == ["curve", "client", "clients, worst first", "accuracy for the client"]
    assert table.to_numpy().tolist() == [
        ["joined", "0", 2, 0.5], ["joined", "1", 1, 0.25], ["joined", "2", 3, 0.75],
        ["alone", "0", 2, 0.6], ["alone", "1", 1, 0.1], ["alone", "2", 3, 0.7],
    ]  # fmt: skip
    by_size = client_charts.joined_or_alone(run, 0, "samples").data[0]
    assert list(by_size.x) == [10, 10, 20]
    unlike = client_charts.joined_or_alone(run, 0, "unlikeness").data[0]
    assert list(unlike.x) == pytest.approx([27 / 40 - 0.5, 27 / 40 - 0.2, 1 - 27 / 40])
    looks = {(trace.marker.color, trace.marker.symbol) for trace in client_charts.joined_or_alone(run, 0).data}
    assert len(looks) == 2
    (bars,) = client_charts.class_accuracies(run, 0).data
    assert (list(bars.x), list(bars.y)) == (["left", "right"], [0.5, None])


def test_what_a_record_lacks_is_not_drawn(run: Run, tmp_path: Path) -> None:
    assert not client_charts.joined_or_alone(run, ROUND).data  # of an earlier revision
    assert not client_charts.class_accuracies(run, ROUND).data
    other = compared(tmp_path)
    write_json(other.path / "task.json", TASK)  # two clients
    assert not client_charts.joined_or_alone(load_run(other.path), 0, "samples").data
    assert len(client_charts.joined_or_alone(load_run(other.path), 0).data) == 2


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
    table = chart_table.as_table(figure)
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
