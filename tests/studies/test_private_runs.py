"""What a promise costs, from tables of figures that are made up here."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from deltamask.plots.privacy_charts import cost_of_a_crowd, cost_of_a_promise
from deltamask.studies import private_runs, tables
from deltamask.studies.experiments import Experiment, read_experiment
from deltamask.studies.tables import Results
from tests.support.study import T2

FILE = """
title = "Promises"
question = "What do they cost?"
seeds = [0, 1, 2]
[base]
rounds = 1
head_init = "unit-means"
head_temperature = 1.0
[arms.plain]
method = "finetune"
[arms.private]
method = "finetune"
dp = "samples"
dp_epsilon = [8.0, 1.0]
[arms.head]
method = "head-only"
"""
ACCURACY = {"plain": 0.9, "private-dp_epsilon8.0": 0.8, "private-dp_epsilon1.0": 0.6, "head": 0.7}


CROWD_FILE = FILE.replace(
    """
dp = "samples"
dp_epsilon = [8.0, 1.0]""",
    """
dp = "clients"
clients = [100, 30]""",
)
CROWD_ACCURACY = {"plain": 0.9, "private-clients100": 0.8, "private-clients30": 0.6, "head": 0.7}


def study(tmp_path: Path, file: str = FILE, accuracy: dict[str, float] = ACCURACY) -> tuple[Experiment, Results]:
    """Results of one round a run, with these accuracies, a tenth of a point apart by seed."""
    path = tmp_path / "promises.toml"
    path.write_text(file)
    experiment = read_experiment(path)
    rows = [
        {"experiment": "promises", "arm": trial.arm, "seed": trial.seed, "round": 1, "clients": 5, "dropped": 0,
         "accuracy": accuracy[trial.arm] + 0.001 * trial.seed, "bpp_up": 1.0, "bpp_down": 1.0, "uplink_bytes": 5e6,
         "downlink_bytes": 1e7}
        for trial in experiment.trials
    ]  # fmt: skip
    rounds = pd.DataFrame(rows, columns=[*tables.KEY, *tables.RECORDED, "clients", "dropped"])
    labels = {("promises", arm.name): arm.label for arm in experiment.arms}
    return experiment, Results([experiment], [], rounds, tables.summarise(rounds, labels), {})


def lines(tmp_path: Path) -> list[private_runs.Line]:
    experiment, results = study(tmp_path)
    return private_runs.lines({(experiment.name, arm.name): arm.config for arm in experiment.arms}, results.rounds)


def test_one_method_is_one_label_whatever_it_promises(tmp_path: Path) -> None:
    found = lines(tmp_path)
    assert [(line.label, line.epsilon) for line in found] == [
        ("Fine-tuning (fp32)", 1.0), ("Fine-tuning (fp32)", 8.0), ("Fine-tuning (fp32)", math.inf),
        ("Head only", math.inf),
    ]  # fmt: skip
    assert found[0].accuracy == pytest.approx((0.601, T2 * 0.001 / math.sqrt(3), 3))
    assert found[0].megabytes.mean == pytest.approx(3.0)  # a fifth of 15 MB


def test_a_study_without_a_promise_has_no_lines(tmp_path: Path) -> None:
    experiment, results = study(tmp_path)
    plain = {(experiment.name, arm.name): private_runs.unprotected(arm.config) for arm in experiment.arms}
    assert private_runs.lines(plain, results.rounds) == []
    assert private_runs.stored(tmp_path) == []


def test_a_promise_for_clients_has_lines_of_its_own_and_a_curve_a_method(tmp_path: Path) -> None:
    experiment, results = study(tmp_path, CROWD_FILE, CROWD_ACCURACY)
    arms = {(experiment.name, arm.name): arm.config for arm in experiment.arms}
    assert private_runs.lines(arms, results.rounds) == []
    found = private_runs.lines(arms, results.rounds, "clients")
    assert [(line.label, line.config.clients, line.promise) for line in found] == [
        ("Fine-tuning (fp32)", 5, "none"), ("Fine-tuning (fp32)", 30, "8"), ("Fine-tuning (fp32)", 100, "8"),
        ("Head only", 5, "none"),
    ]  # fmt: skip
    curves = {trace.name: dict(zip(trace.x, trace.y, strict=True)) for trace in cost_of_a_crowd(found).data}
    assert list(curves) == [
        "Fine-tuning (fp32), no privacy", "Fine-tuning (fp32), ε 8", "Head only, no privacy",
    ]  # fmt: skip
    assert curves["Fine-tuning (fp32), ε 8"] == pytest.approx({30: 0.601, 100: 0.801})


def test_the_chart_has_a_curve_a_method_and_a_place_without_a_promise(tmp_path: Path) -> None:
    figure = cost_of_a_promise(lines(tmp_path))
    curves = {trace.name: dict(zip(trace.x, trace.y, strict=True)) for trace in figure.data}
    assert list(curves["Fine-tuning (fp32)"]) == ["1", "8", "none"]
    assert curves["Fine-tuning (fp32)"]["none"] == pytest.approx(0.901)
    assert list(figure.layout.xaxis.categoryarray) == ["1", "8", "none"]
