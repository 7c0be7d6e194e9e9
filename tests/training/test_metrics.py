"""Own metrics: measured each round on what accuracy is measured on, recorded, plotted, and bounded like the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from deltamask import load_run, metrics, run, simulate
from deltamask.cli import main
from deltamask.conformance import LAWS, Broken
from deltamask.plots import run_charts
from deltamask.runs.figures import own_metrics
from deltamask.simulation.records import RecordError, parse_record
from deltamask.training.metrics import Metric, MetricError, measure
from tests.support import tiny
from tests.support.records import finished_run, record
from tests.support.tiny import timeless

CONFIG = tiny.config(rounds=1, clients=2, train_samples=100, test_samples=50, probe_epochs=2)
LOGITS = np.array([[2, 1, 0], [0, 2, 1], [3, 0, 1], [0, 1, 2]], np.float32)
LABELS = np.array([0, 1, 2, 1])


def accuracy(logits: Any, labels: Any) -> float:
    return float((logits.argmax(1) == labels).mean())


def macro_f1(logits: Any, labels: Any) -> float:
    return float(f1_score(labels, logits.argmax(1), average="macro"))


@pytest.fixture
def registered() -> Iterator[dict[str, Metric]]:
    """What a test registers is gone after it."""
    yield metrics._entries
    metrics._entries.clear()


def test_none_is_registered_and_records_stay_as_they_were(tiny_cache: Path) -> None:
    assert metrics.names() == []
    assert measure(LOGITS, LABELS) is None
    assert [record.metrics for record in simulate(CONFIG)] == [None, None]


def test_it_sees_what_accuracy_is_measured_on(tiny_cache: Path, registered: dict[str, Metric]) -> None:
    without = [timeless(record) for record in simulate(CONFIG)]
    metrics.register("again")(accuracy)
    metrics.register("macro F1")(macro_f1)
    for record_, plain in zip(simulate(CONFIG), without, strict=True):
        assert record_.metrics is not None
        assert record_.metrics["again"] == pytest.approx(record_.accuracy)
        assert 0 < (record_.metrics["macro F1"] or 0) < 1
        assert {**timeless(record_), "metrics": None} == plain  # and changes nothing else


def test_it_is_in_the_folder_the_table_the_chart_and_what_show_prints(
    tiny_cache: Path, tmp_path: Path, registered: dict[str, Metric], capsys: pytest.CaptureFixture[str]
) -> None:
    metrics.register("again")(accuracy)
    done = load_run(run(CONFIG, tmp_path / "mine").path)
    rounds = done.rounds
    assert own_metrics(rounds) == ["again"]
    np.testing.assert_allclose(rounds["metric_again"], rounds["accuracy"], atol=1e-6)
    (line,) = run_charts.own_metrics(done).data
    assert (list(line.x), list(line.y)) == ([0, 1], list(rounds["metric_again"]))
    assert main(["show", str(done.path)]) == 0
    assert f"again: {rounds['metric_again'].iloc[-1]:.4f} (of that round)" in capsys.readouterr().out


def test_the_values_by_hand(registered: dict[str, Metric]) -> None:
    metrics.register("accuracy")(accuracy)
    metrics.register("nothing")(lambda logits, labels: float("nan"))
    metrics.register("whole")(lambda logits, labels: np.int64(3))
    assert measure(LOGITS, LABELS) == {"accuracy": 0.5, "nothing": None, "whole": 3.0}


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (lambda logits, labels: 1 / 0, "metric 'mine' raised ZeroDivisionError"),
        (lambda logits, labels: "much", "metric 'mine' raised ValueError: could not convert"),
        (lambda logits, labels: logits.fill(0), "metric 'mine' raised ValueError: assignment destination is read-only"),
        (lambda logits: 0.0, "metric 'mine' raised TypeError"),
    ],
)
def test_one_that_fails_is_named(metric: Metric, said: str, registered: dict[str, Metric]) -> None:
    metrics.register("mine")(metric)
    with pytest.raises(MetricError, match=said):
        measure(LOGITS.copy(), LABELS.copy())


def test_a_name_that_no_record_can_hold_is_refused(registered: dict[str, Metric]) -> None:
    metrics.register("m" * 101)(accuracy)
    with pytest.raises(MetricError, match="between 1 and 100 characters"):
        measure(LOGITS, LABELS)


def test_a_strangers_metric_takes_no_other_columns_place(tmp_path: Path) -> None:
    stranger = finished_run(tmp_path / "run")
    lines = [record(number, metrics={"accuracy": 7.0, "<b>": None}) for number in range(4)]
    folder = stranger.path / "rounds.jsonl"
    folder.write_text("".join(json.dumps(line) + "\n" for line in lines))
    rounds = load_run(stranger.path).rounds
    assert rounds["accuracy"].max() <= 1
    assert list(rounds["metric_accuracy"]) == [7.0] * 4
    assert rounds["metric_<b>"].isna().all()
    names = [line.name for line in run_charts.own_metrics(load_run(stranger.path)).data]
    assert names == ["accuracy", "&lt;b&gt;"]


@pytest.mark.parametrize("value", ['{"a": "much"}', '{"a": 1e31}', "[1]", '{"%s": 1}' % ("a" * 201)])
def test_a_record_with_what_is_no_metric_is_refused(value: str) -> None:
    whole = json.dumps(record(1, metrics="HERE")).replace('"HERE"', value)
    with pytest.raises(RecordError, match="metrics"):
        parse_record(whole.encode())


def test_the_laws_find_what_does_not_obey() -> None:
    drawn = np.random.default_rng(0)
    obey: dict[str, Metric] = {
        "answers with a number": lambda logits, labels: "much",  # type: ignore[dict-item, return-value]
        "answers the same again": lambda logits, labels: drawn.random(),
    }
    assert LAWS["metric"].keys() == {f"it {name}" for name in obey}
    for name, bad in obey.items():
        LAWS["metric"][f"it {name}"](accuracy)
        LAWS["metric"][f"it {name}"](macro_f1)
        with pytest.raises(Broken):
            LAWS["metric"][f"it {name}"](bad)
