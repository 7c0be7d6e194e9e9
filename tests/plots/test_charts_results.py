"""The figures of docs/results.md draw what the tables hold."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pandas as pd
import pytest

from deltamask.config import RunConfig
from deltamask.methods import methods
from deltamask.plots.palette import style
from deltamask.plots.study_charts import curves, stable, styles, tradeoff, worth, write_svg
from deltamask.studies import tables as tables
from deltamask.studies.experiments import Experiment, read_experiment
from deltamask.studies.tables import Results

FILE = """
title = "t"
question = "q"
seeds = [0, 1]
[base]
rounds = 6
[arms.x]
label = "X"
noise = ["shared", "per_client"]
[arms.fedpm]
method = "fedpm"
"""


@pytest.fixture
def made(tmp_path: Path) -> tuple[Experiment, Results]:
    """Accuracy 0.5 + 0.01·round, the second seed 0.1 higher; the first arm sends 1 MB a round, the second 2, …"""
    (tmp_path / "made.toml").write_text(FILE)
    experiment = read_experiment(tmp_path / "made.toml")
    rows = [
        {"experiment": "made", "arm": arm.name, "seed": seed, "round": round, "sampled": 5, "clients": 5, "dropped": 0,
         "accuracy": 0.5 + 0.01 * round + 0.1 * seed, "bpp_up": 0.1 * at, "bpp_down": 1, "bpp_total": 1 + 0.1 * at,
         "uplink_bytes": 5_000_000 * at, "downlink_bytes": 10_000_000}
        for at, arm in enumerate(experiment.arms, start=1) for seed in (0, 1) for round in range(7)
    ]  # fmt: skip
    rounds = pd.DataFrame(rows, columns=[*tables.KEY, *tables.RECORDED, "sampled", "clients", "dropped"])
    labels = {("made", arm.name): arm.label for arm in experiment.arms}
    return experiment, Results([experiment], [], rounds, tables.summarise(rounds, labels), {})


def test_curves_are_means_over_seeds_and_five_rounds(made: tuple[Experiment, Results]) -> None:
    experiment, results = made
    lines = [trace for trace in curves(results, experiment).data if trace.fill is None]
    assert [(line.name, line.xaxis) for line in lines[:2]] == [("X, shared", "x"), ("X, shared", "x2")]
    sent, both = lines[2:4]  # the second arm
    assert list(sent.x) == pytest.approx([2, 4, 6, 8, 10, 12, 14])
    assert list(both.x) == pytest.approx([4, 8, 12, 16, 20, 24, 28])
    assert list(sent.y) == pytest.approx([0.55, 0.555, 0.56, 0.565, 0.57, 0.58, 0.59])
    band = next(trace for trace in curves(results, experiment).data if trace.fill)
    assert (max(band.y), min(band.y)) == pytest.approx((0.64, 0.5))


def test_tradeoff_draws_the_summary_with_its_intervals(made: tuple[Experiment, Results]) -> None:
    experiment, results = made
    points = {trace.name: trace for trace in tradeoff(results, experiment).data if trace.xaxis == "x2"}
    rows = results.rows(experiment)
    assert points.keys() == {row["label"] for row in rows}
    for row in rows:
        point = points[row["label"]]
        assert (point.x[0], point.y[0], point.error_y.array[0]) == (
            row["bpp_total_all"], row["accuracy"], row["accuracy_ci95"],
        )  # fmt: skip


def test_worth_draws_every_pair_and_its_mean(made: tuple[Experiment, Results]) -> None:
    experiment, results = made
    factors = [trace for trace in worth(results, experiment).data if trace.xaxis == "x3"]
    assert [(trace.y[0], list(trace.x)) for trace in factors] == [
        ("noise:<br>shared → per_client", pytest.approx([2])),
        ("noise:<br>shared → per_client", pytest.approx([2])),
        ("method:<br>deltamask → fedpm", pytest.approx([1.5])),  # fedpm's own noise is the default, per_client
        ("method:<br>deltamask → fedpm", pytest.approx([1.5])),
    ]


def test_arms_of_one_method_differ_in_dash_and_in_marker(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text(FILE.replace('method = "fedpm"', 'method = "fedpm"\nlr = [0.1, 0.2, 0.3]'))
    looks = styles(read_experiment(tmp_path / "one.toml"))
    assert [looks[name] for name in ("x-shared", "x-per_client")] == [
        style(RunConfig(noise=noise, rounds=6)) for noise in ("shared", "per_client")
    ]  # as their runs are drawn elsewhere
    of_fedpm = [look for look in looks.values() if look[0] == methods["fedpm"].color]
    assert len(of_fedpm) == len({dash for _, dash, _ in of_fedpm}) == len({marker for *_, marker in of_fedpm}) == 3
    assert of_fedpm[0] == (methods["fedpm"].color, "solid", methods["fedpm"].marker)


def test_a_colour_a_method_or_an_arm(made: tuple[Experiment, Results], tmp_path: Path) -> None:
    looks = styles(made[0])
    assert looks["x-shared"][0] == looks["x-per_client"][0] == methods["deltamask"].color
    assert looks["fedpm"][0] == methods["fedpm"].color
    assert len(set(looks.values())) == 3
    (tmp_path / "one.toml").write_text(FILE.replace('method = "fedpm"', 'codec = "gap"'))
    assert len({color for color, _, _ in styles(read_experiment(tmp_path / "one.toml")).values()}) == 3


@pytest.mark.browser
def test_the_same_figure_is_the_same_file(made: tuple[Experiment, Results], tmp_path: Path) -> None:
    for name in ("one.svg", "two.svg"):
        write_svg(worth(made[1], made[0]), tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert ET.parse(tmp_path / "one.svg").getroot().get("width") == "1000"


def test_only_plotly_s_ids_are_renumbered() -> None:
    svg = '<g id="clipab12cdxy"/><g class="trace0f0f0f"/><path stroke="#ab12ce" d="M0f0f0"/><use href="#clipab12cdxy"/>'
    assert stable(svg) == (
        '<g id="clipid0000xy"/><g class="traceid0001"/><path stroke="#ab12ce" d="M0f0f0"/><use href="#clipid0000xy"/>'
    )


def test_a_label_is_text_in_every_figure(tmp_path: Path, made: tuple[Experiment, Results]) -> None:
    """A study may come from anybody: Plotly would make a link of an `<a>`, in the page and in the SVG."""
    evil = '<a href="javascript:alert(1)">x</a><b>y</b>'
    file = tmp_path / "made.toml"
    file.write_text(FILE.replace('label = "X"', f"label = '{evil}'"))
    experiment = read_experiment(file)
    _, results = made
    labels = {("made", arm.name): arm.label for arm in experiment.arms}
    results = Results([experiment], [], results.rounds, tables.summarise(results.rounds, labels), {})
    for figure in (curves(results, experiment), tradeoff(results, experiment), worth(results, experiment)):
        names = [trace.name for trace in figure.data if trace.name]
        assert names
        assert not any("<" in name for name in names)
        assert any("&lt;a href=" in name for name in names)
