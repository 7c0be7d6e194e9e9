"""θ_g rebuilt from the messages that a run kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deltamask.inspection import recorded_payload, replay
from deltamask.inspection.replay import theta_before
from deltamask.runs import StoreError
from deltamask.simulation.loop import simulate
from tests.support import tiny
from tests.support.recorded import flips_of, record_run

CHANGES: list[dict[str, Any]] = [
    {"kappa": 0.6},
    {"codec": "gap", "noise": "shared"},
    {"aggregation": "unbiased", "codec": "bfuse8-gated"},
    {"rho": 0.5, "rounds": 4},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_theta_is_rebuilt_bit_for_bit(tiny_cache: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    config, witness = tiny.config(**changes), tiny.Witness()
    recorded = record_run(config, tmp_path / "run")
    list(simulate(config, observer=witness))
    for checkpoint in witness.checkpoints:
        if checkpoint.round < config.rounds:
            np.testing.assert_array_equal(theta_before(recorded, checkpoint.round + 1), checkpoint.state.theta)


def test_a_payload_that_was_not_kept_is_named(tiny_cache: Path, tmp_path: Path) -> None:
    few = record_run(tiny.config(keep_payloads="few"), tmp_path / "few")
    (few.path / "payloads" / "r0002-down.bin").unlink()
    assert len(theta_before(few, 1)) == tiny.D
    with pytest.raises(StoreError, match="has not kept the broadcast of round 2"):
        theta_before(few, 2)
    assert "client 2's payload of round 0 was not kept" in str(recorded_payload.missing_payload(few, 1))
    payload = next(payload for payload in few.payloads(2))
    assert flips_of(few, payload).false is not None  # needs no θ_g: it is only rebuilt when a codec asks


def test_a_small_folder_cannot_ask_for_hours_of_work(
    tiny_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """θ_g before round r takes r messages of d positions; a message that says all of it is one."""
    run = record_run(tiny.config(), tmp_path / "run")
    monkeypatch.setattr(replay, "MOST_WORK", tiny.D)
    assert len(theta_before(run, 1)) == tiny.D
    with pytest.raises(StoreError, match=f"takes 2 messages of {tiny.D:,} positions each"):
        theta_before(run, 2)
    at_once = record_run(tiny.config(downlink="fp32"), tmp_path / "at-once")
    assert len(theta_before(at_once, 2)) == tiny.D
