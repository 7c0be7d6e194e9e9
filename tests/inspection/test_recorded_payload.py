"""What a run folder says about a payload: true and false flips, the context of both sides; damaged folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deltamask.base.paths import recorded_dir
from deltamask.codecs import DecodeError
from deltamask.inspection import recorded_payload
from deltamask.inspection.anatomy import take_apart
from deltamask.inspection.part_costs import part_costs
from deltamask.masking import masks
from deltamask.runs import StoreError
from deltamask.runs.reader import Run, load_run
from tests.support import tiny
from tests.support.recorded import context_of, flips_of


def test_every_payload_of_flips_has_client_flips_that_match_the_record(run: Run) -> None:
    payloads = [payload for payload in run.payloads() if payload.round > 0]
    assert len(payloads) == 2 * 4
    for payload in payloads:
        line = recorded_payload.client_record(run, payload.round, payload.client)
        flips = flips_of(run, payload)
        assert flips.delta is not None
        assert flips.sent is not None
        assert flips.false is not None
        assert flips.held_back is not None
        assert (len(flips.delta), len(flips.sent), len(flips.false)) == (
            line["flips"],
            line["kept"],
            line["false_flips"],
        )
        assert 0 < len(flips.sent) < len(flips.delta)
        assert np.array_equal(np.union1d(flips.sent, flips.held_back), flips.delta)
        assert np.array_equal(np.union1d(flips.sent, flips.false), flips.decoded)
    assert not list((run.path / "payloads").glob("r0000-*.flips"))


@pytest.mark.parametrize(
    "change",
    [
        {"d": -1}, {"d": 10**12}, {"d": True}, {"d": "many"}, {"layers": []}, {"layers": None},
        {"layers": [{"name": 1}]},
        {"layers": [{"name": "a", "start": 0, "stop": 5, "shape": [5]}]},
        {"layers": [{"name": "a", "start": 0, "stop": 4352, "shape": [4351]}]},
    ],
)  # fmt: skip
def test_damaged_description_of_the_task_is_refused(run: Run, tmp_path: Path, change: dict[str, Any]) -> None:
    hostile = tmp_path / "hostile"
    shutil.copytree(run.path, hostile)
    (hostile / "task.json").write_text(json.dumps({**run.task, **change}))
    with pytest.raises(StoreError, match=r"task\.json"):
        recorded_payload.layers_of(load_run(hostile))


def test_another_clients_payload_or_other_bytes_are_refused(run: Run) -> None:
    own, other = run.payloads(2)[:2]
    for data in (other.read(), b"", b"nonsense", own.read()[:-9]):
        with pytest.raises(DecodeError):
            take_apart(data, context_of(run, own))


def test_damaged_client_flips_count_as_missing(run: Run, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(run.path, damaged)
    (damaged / "payloads" / "r0002-c00.flips").write_bytes(b"\0" * 40)
    damaged_run = load_run(damaged)
    flips = flips_of(damaged_run, damaged_run.payloads(2)[0])
    assert flips.sent is None
    assert np.array_equal(flips.decoded, flips_of(run, run.payloads(2)[0]).decoded)


def test_recorded_payloads_open() -> None:
    run = load_run(recorded_dir() / "fashion")
    for payload in run.payloads()[1::40]:
        anatomy = take_apart(payload.read(), context_of(run, payload))
        assert sum(part.bits for part in part_costs(anatomy)) == pytest.approx(8 * payload.size)


def test_a_position_has_the_state_and_the_bits_that_the_flips_give_it(run: Run) -> None:
    opened = recorded_payload.open_payload(run, run.payloads(2)[0])
    flips = opened.flips
    assert flips is not None
    assert flips.delta is not None
    assert flips.sent is not None
    assert flips.false is not None
    assert flips.held_back is not None
    before = masks.sample(opened.context.theta, opened.context.noise.words(0, tiny.D))
    after = masks.apply_flips(before, flips.decoded)
    unchanged = np.setdiff1d(np.arange(tiny.D), np.union1d(flips.decoded, flips.delta))
    kinds = {"sent": flips.sent, "false": flips.false, "held back": flips.held_back, "unchanged": unchanged}
    for state, positions in kinds.items():
        for position in positions[:5].tolist():
            assert flips.state(position) == state
            bit = opened.mask_bit(position)
            assert (bit.global_bit, bit.decoded_bit) == (int(before[position]), int(after[position]))
            layer, index = opened.layer_of(position)
            assert layer.start + np.ravel_multi_index(index, layer.shape) == position
    without_record = recorded_payload.Flips(flips.decoded)
    assert without_record.state(int(flips.false[0])) == without_record.state(int(flips.sent[0])) == "decoded"
    assert without_record.state(int(unchanged[0])) == "not decoded"


def test_groups_of_positions_are_disjoint_and_complete(run: Run) -> None:
    flips = flips_of(run, run.payloads(2)[0])
    positions = np.arange(0, tiny.D, 3)
    for groups in (flips.group(positions), recorded_payload.Flips(flips.decoded).group(positions)):
        assert np.array_equal(np.sort(np.concatenate(list(groups.values()))), positions)
        assert all(flips.state(int(p)) == state for state in ("sent", "false") for p in groups.get(state, ()))


def test_a_head_carries_no_flips_and_the_reason_is_given(run: Run) -> None:
    opened = recorded_payload.open_payload(run, run.payloads(0)[0])
    assert opened.flips is None
    assert opened.no_flips == "The head is sent, not flips."
    assert opened.bpp == pytest.approx(8 * len(opened.data) / tiny.D)
