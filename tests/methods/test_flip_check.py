"""Impossible flips: refused where the code is exact, dropped where a filter adds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deltamask.methods.base import Receipt, methods
from deltamask.simulation.loop import simulate
from deltamask.task.task import Task, load_task
from tests.support import tiny
from tests.support.tiny import Witness, timeless


@pytest.fixture(scope="module")
def task(tiny_cache: Path) -> Task:
    return load_task(tiny.config())


def test_honest_flips_of_an_exact_code_are_all_possible(task: Task) -> None:
    """At several step sizes: the run is the same with the check and without it."""
    for lr in (0.01, 0.3):
        config = tiny.config(codec="gap", lr=lr, lr_schedule="cosine", rounds=3, local_epochs=2)
        unchecked, checked = (
            [timeless(record) for record in simulate(config.replace(check_flips=check), task=task)]
            for check in ("off", "on")
        )
        assert checked == unchecked
        assert sum(record["kept"] or 0 for record in checked) > 3  # a mean over clients


def test_a_filter_loses_false_flips_and_no_true_one(task: Task) -> None:
    config = tiny.config(lr=0.05, rounds=2)
    false = {}
    for check in ("off", "on"):
        records = list(simulate(config.replace(check_flips=check), task=task))
        false[check] = records[1].false_flips
        assert all(line.dropped is None for line in records[1].clients)
    assert false["on"] is not None
    assert false["off"] is not None
    assert false["on"] < 0.6 * false["off"]


def test_an_impossible_flip_costs_its_client_the_round(task: Task) -> None:
    config = tiny.config(codec="gap", lr=0.01, check_flips="on", attack="half-flips", rounds=1, probe_epochs=1)
    *_, record = simulate(config, task=task)
    (lost,) = [line for line in record.clients if line.dropped]
    assert "that no training under these settings can reach" in str(lost.dropped)
    assert str(lost.dropped).startswith("flips position ")


def test_a_state_of_an_earlier_revision_knows_no_samples_and_checks_nothing(task: Task) -> None:
    config = tiny.config(codec="gap", lr=0.05, check_flips="on", rounds=1)
    seen = Witness()
    list(simulate(config, task=task, observer=seen))
    method, start = methods["deltamask"], seen.checkpoints[0].state
    arrays = {name: array for name, array in vars(start).items() if name != "samples"}
    receipts: list[Receipt] = []
    payload = [(0, seen.payloads[1, 0])]
    method.server_update(config, method.state(**arrays), 1, payload, receipts.append)
    assert [receipt.dropped for receipt in receipts] == [None]
    assert np.array_equal(start.samples, task.samples)
