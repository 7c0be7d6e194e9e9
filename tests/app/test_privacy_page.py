"""The Privacy page: every figure is the data's, and what nobody has measured is said to be missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from deltamask.privacy import crowd
from deltamask.studies import leaks, private_runs, tables
from tests.app.test_broken_runs import draw
from tests.studies import test_leaks, test_private_runs


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the page reads; no tables in it."""
    monkeypatch.setenv("DELTAMASK_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "results"


def view(**address: str) -> AppTest:
    page = draw("privacy.py", **address)
    assert not page.exception
    return page


def bars(page: AppTest) -> dict[str, list[float]]:
    """The first chart's curves."""
    figure = json.loads(page.get("plotly_chart")[0].proto.spec)
    return {trace["name"]: trace["y"] for trace in figure["data"]}


def test_before_anything_was_measured_the_page_says_so_and_still_computes(data: Path) -> None:
    page = view()
    assert [each.value.startswith("Not measured here yet") for each in page.info] == [True] * 4
    assert len(page.get("plotly_chart")) == 1  # the arithmetic
    assert "No secure aggregation" in page.warning[0].value


def test_guessed_and_true_shares_are_the_tables(data: Path) -> None:
    stored = test_leaks.tables()
    leaks.write(stored, data)
    page = view(sent="fedpm")
    assert bars(page) == {"true": [0.5], "guessed from one payload": [0.25]}
    own = stored["clients"].query("sent == 'fedpm'")
    said = " ".join(each.value for each in page.markdown)
    assert f"guesses are {leaks.figure(own['tv']).text()} from the true shares" in said
    table = page.dataframe[0].value
    assert table.loc[table["sent by"] == "FedPM", "images: AUC"].tolist() == pytest.approx([own["auc"].mean()])
    metrics = {each.label: each.value for each in page.metric}
    assert metrics["Proven: at most ε"] == "1"
    assert metrics["Attacks prove: at least, highest of 3"] == "0.70"
    assert metrics["With half the noise, lowest of 3"] == "1.20"


def test_accuracy_and_bytes_are_the_studys(tmp_path: Path, data: Path) -> None:
    experiment, results = test_private_runs.study(tmp_path)
    runs = [
        {"experiment": trial.experiment, "arm": trial.arm, "seed": trial.seed, "config": trial.config.model_dump()}
        for trial in experiment.trials
    ]
    tables.write(tables.Results([experiment], runs, results.rounds, results.summary, {}), data)
    found = private_runs.stored(data)
    page = view()
    table = page.dataframe[0].value
    assert table["accuracy"].tolist() == [line.accuracy.mean for line in found]
    assert table["MB a client"].tolist() == [line.megabytes.mean for line in found]
    assert table["ε"].tolist() == ["1", "8", "none", "none"]


def test_a_promise_for_clients_is_drawn_over_their_number(tmp_path: Path, data: Path) -> None:
    experiment, results = test_private_runs.study(
        tmp_path, test_private_runs.CROWD_FILE, test_private_runs.CROWD_ACCURACY
    )
    runs = [
        {"experiment": trial.experiment, "arm": trial.arm, "seed": trial.seed, "config": trial.config.model_dump()}
        for trial in experiment.trials
    ]
    tables.write(tables.Results([experiment], runs, results.rounds, results.summary, {}), data)
    page = view()
    assert [each.value.startswith("Not measured here yet") for each in page.info] == [True] * 3
    assert bars(page)["Fine-tuning (fp32), ε 8"] == pytest.approx([0.601, 0.801])


def test_the_arithmetic_follows_its_sliders(data: Path) -> None:
    page = view()
    page.select_slider(key="crowd_flips").set_value(100)
    page.select_slider(key="crowd_rounds").set_value(1).run()
    sigma = crowd.sigma_for(8.0, 1e-5, 1)
    said = " ".join(each.value for each in page.markdown)
    assert f"**{crowd.clients_needed(100, sigma, 0.1):,}** where 10% agree" in said
    assert f"σ {sigma:.2f}" in said


def test_damaged_tables_are_named_and_the_page_stands(data: Path) -> None:
    data.mkdir(parents=True)
    (data / "leaks-links.csv").write_text("a\n1\n")
    assert "cannot be read" in view().warning[0].value


def test_what_ships_is_drawn() -> None:
    page = view()
    shipped = leaks.read(Path(__file__).resolve().parents[2] / "data" / "results")
    if "shares" not in shipped:
        assert page.info
        return
    first = shipped["shares"].query("sent == 'deltamask' and client == 0")
    assert bars(page)["guessed from one payload"] == pytest.approx(first["guess"].tolist())
    assert bars(page)["true"] == pytest.approx(first["truth"].tolist())
