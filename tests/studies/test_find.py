"""A query finds the runs for which each of its terms holds, and says which term it cannot read."""

from __future__ import annotations

from pathlib import Path

import pytest

from deltamask.runs.reader import Run, list_runs
from deltamask.studies.find import FindError, find, tags
from deltamask.studies.measured import measured_runs
from tests.support.records import finished_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    root: Path = tmp_path_factory.mktemp("runs")
    finished_run(root / "first", rounds=12, kappa=0.5)
    finished_run(root / "second", rounds=12, kappa=0.25, method="fedpm")
    third = finished_run(root / "third", rounds=12, dirichlet_alpha=0.1, compare_alone=True).path
    (third / "mark.json").write_text('{"star": true, "note": "for the talk #Draft #two"}')
    return sorted(list_runs(root), key=lambda run: run.id)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["first", "second", "third"]),
        ("method=FedPM", ["second"]),
        ("method!=fedpm kappa<0.9", ["first"]),
        ("kappa<=0.5 kappa>=0.5", ["first"]),
        ("κ=0.250", ["second"]),
        ("alpha>1", ["first", "second"]),
        ("compare_alone=true", ["third"]),
        ("state=finished accuracy>0 accuracy<=1", ["first", "second", "third"]),
        ("state=running", []),
        ("#draft", ["third"]),
        ("#dra", []),
        ("*", ["third"]),
        ("TALK", ["third"]),
        ("fedpm", ["second"]),
        ("sec", ["second"]),
        ("sec #draft", []),
    ],
)
def test_every_term_must_hold(runs: list[Run], query: str, expected: list[str]) -> None:
    assert [run.id for run in find(runs, query)] == expected


def test_tags_are_words_of_the_note(runs: list[Run]) -> None:
    assert [tags(run) for run in runs] == [[], [], ["#Draft", "#two"]]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("kapa=1", "no setting or figure is called 'kapa'; is 'kappa' meant?"),
        ("zzz>1", "no setting or figure is called 'zzz'"),
        ("kappa<much", "'much' is no number"),
        ("method>1", "method is a word"),
    ],
)
def test_a_term_that_cannot_be_read_is_named(runs: list[Run], query: str, said: str) -> None:
    with pytest.raises(FindError, match=said.replace("?", r"\?")):
        find(runs, query)


def test_the_studies_runs_are_found_like_others() -> None:
    found = find(measured_runs(), "method=lora rounds=40 bpp_up<1")
    assert found
    assert {run.config.method for run in found} == {"lora"}
    assert all(run.summary()["bpp_up"] < 1 for run in found)
