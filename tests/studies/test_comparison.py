"""Runs side by side: groups of seeds, fronts, differences, and the report."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deltamask.base.paths import recorded_dir
from deltamask.config import RunConfig
from deltamask.plots import chart_table, palette, report, run_charts
from deltamask.runs.folder import RunFolder, write_json
from deltamask.runs.reader import Run, list_runs, load_run
from deltamask.studies.comparison import (
    Group,
    best_within,
    differing,
    finding,
    group_by_seed,
    of_one_task,
    pareto_front,
)
from deltamask.studies.views import prepared
from tests.support.records import TASK, record


def make(root: Path, name: str, accuracies: list[float], **changes: Any) -> Run:
    """A finished run with these accuracies; every round sends 0.25 bpp up and 1 down."""
    folder = RunFolder.create(root / name, RunConfig(rounds=len(accuracies) - 1, **changes))
    for round, accuracy in enumerate(accuracies):
        seconds = {"train": 3.0, "encode": 0.5, "decode": 0.25, "aggregate": 0.25, "evaluate": 2.0}
        folder.append(record(round, accuracy=accuracy, seconds=seconds))
    write_json(folder.path / "task.json", TASK)
    folder.write_status(state="finished")
    return load_run(folder.path)


def test_runs_that_differ_in_their_seed_alone_are_a_group(tmp_path: Path) -> None:
    a, b = make(tmp_path, "a", [0.1, 0.4]), make(tmp_path, "b", [0.3, 0.8], seed=1, keep_payloads="all")
    other, again = make(tmp_path, "c", [0.2, 0.2], kappa=0.5), make(tmp_path, "d", [0.1, 0.4])
    groups = group_by_seed([a, other, b, again])
    assert [[run.id for run in group.runs] for group in groups] == [["a", "b"], ["c"], ["d"]]  # no seed counts twice
    frame = groups[0].rounds
    assert frame["accuracy"].tolist() == pytest.approx([0.2, 0.6])
    assert frame["accuracy_min"].tolist() == [0.1, 0.4]
    assert frame["accuracy_max"].tolist() == [0.3, 0.8]
    assert frame["bpp_up_total"].tolist() == [0.25, 0.5]
    assert groups[0].name.endswith("2 seeds")


def test_a_band_ends_where_the_first_run_ends(tmp_path: Path) -> None:
    long, short = make(tmp_path, "a", [0.1, 0.4, 0.5], seed=1), make(tmp_path, "b", [0.3, 0.8])
    short_config = {**short.config.model_dump(), "rounds": 2}
    write_json(short.path / "config.json", {"config": short_config})
    (group,) = group_by_seed([long, load_run(short.path)])
    assert group.rounds["round"].tolist() == [0, 1]
    assert group.summary()["rounds"] == 1


def test_summary_of_a_group_by_hand(tmp_path: Path) -> None:
    group = Group((make(tmp_path, "a", [0.0, 0.4]), make(tmp_path, "b", [0.0, 0.8], seed=1)))
    summary = group.summary()
    assert (summary["accuracy"], summary["accuracy_min"], summary["accuracy_max"]) == (pytest.approx(0.6), 0.4, 0.8)
    assert summary["bpp_total"] == 1.25


def test_pareto_front_by_hand() -> None:
    bits, accuracy = [4, 1, 2, 3, 1], [0.9, 0.5, 0.7, 0.6, 0.4]
    assert pareto_front(bits, accuracy) == [1, 2, 0]  # 3 costs more than 2 and gives less; 4 is 1, but worse
    assert pareto_front([], []) == []
    for index in range(5):  # the law: a point is on the front exactly if nobody beats it
        beaten = any(
            bits[other] <= bits[index] and accuracy[other] >= accuracy[index] and other != index for other in range(5)
        )
        assert beaten != (index in pareto_front(bits, accuracy))


def test_only_differing_fields_are_named() -> None:
    configs = [RunConfig(), RunConfig(kappa=0.5), RunConfig(kappa=0.5, seed=3)]
    assert differing(configs) == ["kappa", "seed"]
    assert differing(configs[:1]) == []


def test_a_comparison_comes_to_the_best_and_the_best_of_few_bits() -> None:
    names = ["fashion-finetune", "fashion-recipe", "fashion-probe"]
    groups = group_by_seed([load_run(recorded_dir() / name) for name in names])
    best, recipe = groups[0], groups[1]
    said = finding(groups)
    few = recipe.summary()
    assert said == (
        f"Most accurate: {best.name}, {best.summary()['accuracy']:.4f} at 32.42 bpp up with the head. "
        f"With at most 0.1 bpp up: {recipe.name}, {few['accuracy']:.4f} at {few['bpp_up_all']:.4g} bpp up "
        "with the head."
    )
    assert finding(groups[::2]) == said.split(" With")[0] + " None sends at most 0.1 bpp up."
    assert finding(groups[:1]) is None
    differing = group_by_seed(prepared("unlike-clients", list_runs(recorded_dir())))
    assert "noniid-recipe-cof, 0.8546 at 0.01778 bpp" in str(finding(differing))  # several have its label


def test_pareto_chart_draws_summaries_and_the_front() -> None:
    groups = group_by_seed(list_runs(recorded_dir()))
    figure = run_charts.pareto(groups, way="total", per="so far")
    table = chart_table.as_table(figure)
    same = of_one_task(groups)
    names = zip(groups, run_charts.numbered_names(groups), strict=True)
    said = {name: group.summary() for group, name in names if group in same}
    assert 0 < len(same) < len(groups)  # of another task: never in a front
    assert set(table["curve"]) == set(said)
    for row in table.itertuples(index=False):
        assert row[1] == pytest.approx(said[row[0]]["bpp_up_total"] + said[row[0]]["bpp_down_total"])
        assert row[2] == said[row[0]]["accuracy"]


# The report


def test_report_needs_no_network_and_escapes_names(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>"
    run = make(tmp_path, name, [0.1, 0.25])
    page = report.comparison_report([run, load_run(recorded_dir() / "fashion")])
    assert name not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert page.count("plotly.js v") == 1  # the library once
    outside = re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=[\"']?(?!data:)([^\"' >]+)", page)
    assert not outside
    assert "deltamask run --rounds 1" in page


class Elements(HTMLParser):
    """The tags of a page, in order, and the texts of its headings."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.headings: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "h3" and data.strip():
            self.headings.append(data)


@pytest.mark.parametrize("name", ["<script>alert(1)<script>", "{{7*7}}", "{% raw %}", "%{x} & 'quoted\"'"])
def test_report_shows_any_name_as_it_is(tmp_path: Path, name: str) -> None:
    """Two runs that share a label have their folders' names in the legend, so the name is in the charts too."""
    other = make(tmp_path / "other", "a", [0.1, 0.25])
    runs = [make(tmp_path, name, [0.1, 0.25]), other]
    page = Elements(report.comparison_report(runs))
    assert page.headings == [name, "a"]
    assert page.tags == Elements(report.comparison_report([make(tmp_path, "harmless", [0.1, 0.25]), other])).tags
    drawn = run_charts.accuracy_curves(runs)
    assert drawn.data[0].name.endswith(palette.plain(name))
    assert not re.search(r"<script|%{x}", "".join(f"{trace.name}{trace.hovertemplate}" for trace in drawn.data))
    table = chart_table.as_table(drawn)
    assert table["curve"].unique().tolist() == run_charts.group_names([Group((run,)) for run in runs])


def test_figure_page_escapes_its_title() -> None:
    page = report.figure_page(run_charts.pareto([]), "<b>{{7*7}}</b>")
    assert "<title>&lt;b&gt;{{7*7}}&lt;/b&gt;</title>" in page
    assert page.count("plotly.js v") == 1


def test_report_says_what_the_folders_say() -> None:
    runs = [load_run(recorded_dir() / name) for name in ("fashion", "fashion-fedpm")]
    rows = report.comparison_rows(runs)
    assert [row["run"] for row in rows] == ["fashion", "fashion-fedpm"]
    assert [row["method"] for row in rows] == ["deltamask", "fedpm"]
    assert "seed" not in rows[0]
    for row, run in zip(rows, runs, strict=True):
        assert row["accuracy, last ten"] == run.summary()["accuracy"]
        assert row["bytes up in all"] == sum(record["uplink_bytes"] for record in run.records)
    assert json.dumps(rows)
    assert all(np.isfinite(row["bpp up in all"]) for row in rows)


def test_one_clients_message_is_what_the_round_sent_by_its_clients() -> None:
    run = load_run(recorded_dir() / "fashion")
    group = Group((run,))
    for row in run.records:
        assert group.message_bytes(row["round"]) == pytest.approx(row["uplink_bytes"] / len(row["clients"]))
    assert group.message_bytes(1000) is None


def test_what_a_comparison_comes_to_leaves_other_tasks_out() -> None:
    names = ["fashion", "fashion-fedpm", "noniid-head"]
    groups = group_by_seed([load_run(recorded_dir() / name) for name in names])
    assert "Head" not in str(finding(groups))
    assert finding(groups, focus=groups[2].runs[0]) is None  # alone in its task
    assert str(finding(groups, names=["A", "B", "C"])).startswith("Most accurate: A, 0.88")


def test_the_best_within_a_budget(tmp_path: Path) -> None:
    """By hand, and never one of another task."""
    names = ["fashion-finetune", "fashion-recipe", "fashion-fedpm", "noniid-head"]
    groups = group_by_seed([load_run(recorded_dir() / name) for name in names])
    found = [best_within(groups, budget) for budget in (0.001, 0.1, 1.0, 40.0)]
    assert [group and group.runs[0].id for group in found] == [None, "fashion-recipe", "fashion-recipe", names[0]]
    drawn = run_charts.pareto(groups, budget=0.1)
    assert [shape.x0 for shape in drawn.layout.shapes] == [0.1]
