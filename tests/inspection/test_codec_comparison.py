"""The flips of a recorded payload in every codec, beside the entropy bounds of the run's record."""

from __future__ import annotations

import numpy as np
import pytest

from deltamask import codecs
from deltamask.inspection import recorded_payload
from deltamask.inspection.codec_comparison import MOST_FLIPS, compare_codecs, entropy_bounds
from deltamask.runs import StoreError
from deltamask.runs.reader import Run
from tests.support.recorded import context_of, flips_of


def test_side_information_is_rebuilt_only_when_it_is_asked_for(run: Run) -> None:
    payload = run.payloads(2)[0]
    context = context_of(run, payload)
    recorded_payload.decode(run.config, payload.read(), context)
    assert "theta" not in vars(context)
    rows = list(compare_codecs(flips_of(run, payload).sent, context))  # type: ignore[arg-type]
    assert "theta" in vars(context)
    assert [row.codec for row in rows] == codecs.names()
    used = next(row for row in rows if row.codec == run.config.codec)
    line = recorded_payload.client_record(run, payload.round, payload.client)
    assert (used.bytes, used.false_flips) == (line["uplink_bytes"], line["false_flips"])
    assert all(row.false_flips == 0 for row in rows if codecs.get(row.codec).exact)
    iid, side = entropy_bounds(flips_of(run, payload).sent, context)  # type: ignore[arg-type]
    assert side < iid < used.bpp


def test_bounds_are_those_of_the_record(run: Run) -> None:
    found = [entropy_bounds(flips_of(run, p).sent, context_of(run, p)) for p in run.payloads(2)]  # type: ignore[arg-type]
    assert np.mean([iid for iid, _ in found]) == pytest.approx(run.records[2]["entropy_iid"])
    assert np.mean([side for _, side in found]) == pytest.approx(run.records[2]["entropy_side"])


def test_as_many_flips_as_take_minutes_are_refused(run: Run) -> None:
    context = context_of(run, run.payloads(2)[0])
    with pytest.raises(StoreError, match="5,000,001 flips, at most 5,000,000"):
        next(compare_codecs(np.arange(MOST_FLIPS + 1), context))
