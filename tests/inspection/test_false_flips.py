"""False flips of a run: those counted in its records beside those that the codec's rate promises."""

from __future__ import annotations

import dataclasses

import pytest

from deltamask.inspection.false_flips import false_flips_of
from deltamask.runs.reader import Run
from tests.support import tiny


def test_every_payload_of_flips_is_listed_with_its_expected_number(run: Run) -> None:
    found = false_flips_of(run, tiny.D)
    assert [(row.round, row.client) for row in found] == [(round, client) for round in (1, 2) for client in range(4)]
    for row in found:
        line = run.records[row.round]["clients"][row.client]
        assert (row.sent, row.counted) == (line["kept"], line["false_flips"])
        assert row.expected == pytest.approx((tiny.D - line["kept"]) / 256)


def test_without_a_fixed_rate_nothing_is_expected(run: Run) -> None:
    gated = dataclasses.replace(run, config=run.config.replace(codec="bfuse8-gated"))
    assert {row.expected for row in false_flips_of(gated, tiny.D)} == {None}
