"""The Lab's prediction says what the forecast says, and after a run how far off it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from ui.expected import Shelf

from deltamask.base.paths import recorded_dir
from deltamask.base.units import byte_size
from deltamask.config import RunConfig
from deltamask.runs.reader import list_runs, load_run
from deltamask.studies.forecast import Memory, learn
from deltamask.studies.measured import measured_run, measured_runs
from tests.app.test_broken_runs import draw


@pytest.fixture(scope="module")
def memory() -> Memory:
    return learn([*list_runs(recorded_dir()), *measured_runs()], Path("/nowhere"))


@pytest.fixture(autouse=True)
def no_runs_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELTAMASK_RUNS", str(tmp_path))
    monkeypatch.setattr("ui.expected.PATIENCE", 0.0)  # no browser waits for the page


def predicted(**address: str) -> str:
    (line,) = [each.value for each in draw("lab.py", **address).markdown if "**Predicted**" in each.value]
    return str(line)


def test_bytes_accuracy_and_time_are_those_of_the_forecast(memory: Memory) -> None:
    lines = {}
    for kappa in (1.0, 0.3):
        forecast = memory.forecast(RunConfig(kappa=kappa))
        line = lines[kappa] = predicted(kappa=str(kappa))
        assert forecast.message is not None
        assert forecast.accuracy is not None
        assert forecast.time is not None
        low, value, high = (
            byte_size(each) for each in (forecast.message.low, forecast.message.value, forecast.message.high)
        )
        assert f"≈ {value} ({low} to {high}) a message" in line
        assert f"accuracy {forecast.accuracy.low:.2f} to {forecast.accuracy.high:.2f}" in line
        assert f"≈ {forecast.time.seconds.value / 60:.0f} min" in line
    assert lines[1.0] != lines[0.3]


def test_what_a_promise_costs_is_forecast_from_runs_that_made_one(memory: Memory) -> None:
    asked = {"dp": "samples", "method": "head-only", "head_init": "unit-means", "head_temperature": 1.0, "rounds": 20}
    said = {}
    for epsilon in (1.0, 8.0):
        config = RunConfig(**asked, dp_epsilon=epsilon, min_client_samples=64)  # type: ignore[arg-type]
        forecast = memory.forecast(config)
        assert forecast.accuracy is not None
        assert all(promised(name) for name in forecast.like)
        line = predicted(
            **{name: str(value) for name, value in {**asked, "dp_epsilon": epsilon, "min_client_samples": 64}.items()}
        )
        assert f"accuracy {forecast.accuracy.low:.2f} to {forecast.accuracy.high:.2f}" in line
        said[epsilon] = forecast.accuracy.value
    assert said[1.0] < said[8.0]


def promised(name: str) -> bool:
    run = measured_run(name)
    return run is not None and run.config.dp == "samples"


def test_a_first_page_does_not_wait_for_what_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ui.expected.PATIENCE", 60.0)
    monkeypatch.setattr("ui.expected._shelf", Shelf)
    line = predicted()
    assert "as soon as" in line
    assert "≈" not in line


def test_no_prediction_is_said_where_nothing_near_was_measured() -> None:
    line = predicted(dataset="digits")
    assert "nothing like it was measured" in line
    assert "a message" not in line
    assert "min" in line  # time depends on the network, which was measured


def test_after_the_run_it_says_how_far_off_the_prediction_was(memory: Memory) -> None:
    run = load_run("fashion-recipe")
    (line,) = [each.value for each in draw("lab.py", run=run.id).caption if "Predicted without" in each.value]
    said = memory.forecast(run.config, without=True)
    assert said.message is not None
    assert said.accuracy is not None
    measured = run.summary()["bpp_up"] * run.task["d"] / 8
    assert f"was {byte_size(measured)}, {measured / said.message.value - 1:+.0%}, inside" in line
    off = run.summary()["accuracy"] - said.accuracy.value
    assert f"was {run.summary()['accuracy']:.3f}, {100 * off:+.1f} points" in line
