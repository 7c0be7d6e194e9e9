"""Prepared views: each of one task, with a sentence out of the very figures that it draws."""

from __future__ import annotations

from pathlib import Path

import pytest

from deltamask.base.paths import recorded_dir, results_dir
from deltamask.plots import run_charts
from deltamask.runs.reader import Run, list_runs
from deltamask.studies import views
from deltamask.studies.comparison import Group, group_by_seed, setting_of
from deltamask.studies.measured import measured_run, measured_runs
from deltamask.studies.tables import measure, read_tables
from deltamask.studies.tasks import task_of


def measured() -> list[Run]:
    """All that ships: runs with a folder, and those of the studies' tables."""
    return [*list_runs(recorded_dir()), *measured_runs()]


def groups_of(view: str) -> list[Group]:
    return group_by_seed(views.prepared(view, measured()))


@pytest.mark.parametrize("view", views.names())
def test_a_view_has_runs_of_one_task_names_and_a_sentence(view: str) -> None:
    groups = groups_of(view)
    assert len(groups) > 1
    assert len({task_of(group.config) for group in groups}) == 1  # like with like
    assert set(views.get(view).methods) <= {group.config.method for group in groups}
    names = run_charts.numbered_names(groups)
    assert len(set(run_charts.group_names(groups))) == len(groups)
    assert views.get(view).finds(groups, names)
    assert views.get(view).finds(groups[:1], names[:1]) is None
    assert views.get(view).asks.endswith("?")


@pytest.mark.parametrize("view", views.names())
def test_a_recorded_setting_is_shown_with_every_seed_that_was_measured(view: str) -> None:
    """As many as the study's table has: the page may not rest on fewer runs than docs/results.md."""
    for group in groups_of(view):
        if group.runs[0].path.parent != recorded_dir():
            continue  # a study of its own, whose seeds are its arms'
        setting = setting_of(group.config)
        ours = {run.config.seed for run in measured_runs() if setting_of(run.config) == setting}
        assert ours <= {run.config.seed for run in group.runs}, group.name


def test_views_are_offered_in_their_order() -> None:
    assert set(views.ordered()) == set(views.names())
    assert views.ordered()[0] == "headline"
    with pytest.raises(KeyError, match="headline"):
        views.prepared("none such", [])


def test_the_sentence_on_kappa_is_that_of_the_tables() -> None:
    groups = groups_of("kappa")
    told = {group.config.kappa: group.summary() for group in groups}
    said = str(views.get("kappa").finds(groups, run_charts.numbered_names(groups)))
    assert f"{told[0.25]['bpp_up'] / told[1.0]['bpp_up']:.0%} of the bits" in said
    assert f"({told[0.25]['accuracy']:.4f} against {told[1.0]['accuracy']:.4f}" in said


def test_a_run_of_the_tables_has_their_figures() -> None:
    """As `measure` computes them from the rows themselves."""
    _, rounds = read_tables(results_dir())
    expected = measure(rounds).set_index(["experiment", "arm", "seed"])
    runs = measured_runs()
    assert len(runs) > 100
    for run in runs[::7]:
        row, summary = expected.loc[(run.experiment, run.arm, run.config.seed)], run.summary()
        for name in ("accuracy", "bpp_up", "bpp_down", "bpp_up_all", "rounds"):
            assert summary[name] == pytest.approx(row[name]), (run.id, name)
        assert summary["worst_client"] == pytest.approx(row["accuracy_worst"], nan_ok=True)
    named = measured_run("bpe/filter-bfuse8-s0")
    assert named in runs
    assert (named.experiment, named.arm, named.config.seed) == ("bpe", "filter-bfuse8", 0)
    assert measured_run("../etc") is None
    assert (named.state, named.payloads()) == ("finished", [])


def test_there_may_be_no_tables(tmp_path: Path) -> None:
    assert measured_runs(tmp_path) == []
