"""Names at the ends of lines lie apart, near where they belong, and within the chart."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltamask.base.paths import recorded_dir
from deltamask.plots import run_charts
from deltamask.plots.line_names import WIDEST, spread, wrapped
from deltamask.runs.reader import load_run

values = st.lists(st.floats(-5, 5), min_size=1, max_size=12).map(sorted)


@given(values, st.floats(0.01, 3))
def test_boxes_never_overlap_and_stay_inside(wanted: list[float], height: float) -> None:
    heights = [height] * len(wanted)
    places = spread(wanted, heights, -5, 5)
    given = min(height, 10 / len(wanted))  # where there is no room for all, each gets less
    assert all(b - a >= given - 1e-9 for a, b in itertools.pairwise(places))
    assert places[0] >= -5 + given / 2 - 1e-9
    assert places[-1] <= 5 - given / 2 + 1e-9


def test_what_has_room_stays_where_it_is() -> None:
    assert spread([1, 3, 7], [1, 1, 1], 0, 10) == pytest.approx([1, 3, 7])
    assert spread([4, 4], [1, 1], 0, 10) == pytest.approx([3.5, 4.5])  # both move as little as can be


def test_long_names_are_wrapped_between_words() -> None:
    text = "1 · DeltaMask, κ 0.5, gap, unbiased, seed 2"
    lines = wrapped(text).split("<br>")
    assert " ".join(lines) == text
    assert max(map(len, lines)) <= WIDEST


def test_curves_end_in_their_names_and_the_focus_is_thick() -> None:
    runs = [load_run(recorded_dir() / name) for name in ("fashion", "fashion-fedpm", "noniid-recipe")]
    figure = run_charts.accuracy_curves(runs, against="rounds", focus=runs[0], height=330)
    texts = {re.sub("<span.*</span> ", "", note.text).replace("<br>", " ") for note in figure.layout.annotations}
    assert texts == {"<b>1 · DeltaMask, α 10, bfuse8, Beta, probe</b>", "2 · FedPM, α 10",
                     "3 · DeltaMask, α 0.1, gap, unbiased, gram · other task"}  # fmt: skip
    lines = [trace for trace in figure.data if trace.hoverinfo != "skip"]
    assert lines[0].line.width > lines[1].line.width == lines[2].line.width
    assert (lines[2].line.color, lines[2].line.dash) == ("#7d8590", "dash")  # of another task: grey and dashed
    bits = run_charts.accuracy_curves(runs, focus=runs[0], height=330)
    assert [note.text for note in bits.layout.annotations] == ["<b>1</b>", "<b>2</b>", "<b>3</b>"]
    smooth = run_charts.accuracy_curves(runs[:1], against="rounds", smooth=True)
    raw, means = smooth.data
    assert list(raw.y) == [record["accuracy"] for record in runs[0].records]
    assert means.y[0] == raw.y[0]
    assert means.y[20] == pytest.approx(sum(raw.y[18:23]) / 5)
