"""Compare's view of clients that lie: what the tables say, and nothing where there are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from deltamask.plots.attack_charts import LOOKS, under_attack
from deltamask.runs import StoreError
from deltamask.studies import attacks, tables
from tests.app.test_broken_runs import draw
from tests.studies.test_attacks import ACCURACY, lines, study


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the page reads; no tables in it."""
    monkeypatch.setenv("DELTAMASK_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("DELTAMASK_RUNS", str(tmp_path / "runs"))
    return tmp_path / "data" / "results"


def view() -> AppTest:
    """The page by a link to the view."""
    page = draw("compare.py", view=attacks.TITLE)
    assert not page.exception
    return page


def store(tmp_path: Path, data: Path) -> list[attacks.Line]:
    """Tables of made-up figures; the lines that they are."""
    experiment, results = study(tmp_path)
    runs = [
        {"experiment": trial.experiment, "arm": trial.arm, "seed": trial.seed, "config": trial.config.model_dump()}
        for trial in experiment.trials
    ]
    tables.write(tables.Results([experiment], runs, results.rounds, results.summary, {}), data)
    return lines(experiment, results)


def test_before_anything_was_measured_the_view_says_so(data: Path) -> None:
    page = view()
    assert "Nobody has measured this yet" in page.info[0].value
    assert not page.get("plotly_chart")


def test_every_figure_of_the_view_is_the_tables(tmp_path: Path, data: Path) -> None:
    found = store(tmp_path, data)
    assert attacks.stored(data) == found
    page = view()
    assert len(page.get("plotly_chart")) == 2  # of 5 and of 30 clients
    table = page.dataframe[0].value
    assert table["accuracy"].tolist() == [line.accuracy.mean for line in found]
    assert table["lost, points"].tolist() == [line.lost.mean for line in found]
    assert len(table) == len(ACCURACY)
    lost = {liars: [line.lost for line in ends if line] for liars, ends in attacks.worst(found).items()}
    said = next(text.value for text in page.markdown if "What can one client that lies do?" in text.value)
    assert lost
    for figure in (figure for figures in lost.values() for figure in figures):
        assert f"{-figure.mean:.1f} ± {figure.width:.1f} points" in said


def test_a_chart_has_a_row_an_attack_and_a_point_a_protection(tmp_path: Path) -> None:
    found = [line for line in lines(*study(tmp_path)) if line.liars == "1 of 5"]
    figure = under_attack(found)
    points = {trace.name: dict(zip(trace.y, trace.x, strict=True)) for trace in figure.data}
    assert list(points) == list(LOOKS)
    assert points["without protection"] == pytest.approx({"FedPM: none": 0.82, "FedPM: zero mask": 0.12})
    assert points["with protection"]["FedPM: zero mask"] == pytest.approx(0.80333, rel=1e-4)


def test_damaged_tables_are_named_and_the_page_stands(data: Path) -> None:
    data.mkdir(parents=True)
    (data / "runs.jsonl").write_text("{")
    with pytest.raises(StoreError):
        attacks.stored(data)
    assert "cannot be read" in view().warning[0].value
