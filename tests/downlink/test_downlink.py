"""The downlink: whatever a client missed, it ends with the server's θ_g bit for bit; and what that cost is counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltamask import downlink, methods
from deltamask.codecs import DecodeError
from deltamask.config import Downlink, RunConfig
from deltamask.downlink import Change, ThetaMemory, counts
from deltamask.inspection.replay import theta_before
from deltamask.runs import StoreError
from deltamask.runs.folder import RunFolder
from deltamask.runs.reader import load_run
from deltamask.runs.runner import execute
from deltamask.simulation.delivery import Delivery, sampled_clients
from deltamask.simulation.loop import simulate
from deltamask.task.task import Task, load_task
from tests.support import tiny
from tests.support.tiny import Witness

VARIANTS: list[dict[str, Any]] = [
    {"method": "deltamask"},
    {"method": "deltamask", "noise": "shared"},
    {"method": "deltamask", "aggregation": "unbiased", "server_lr": 1.5},
    {"method": "deltamask", "rho": 0.5},
    {"method": "deltamask", "rho": 0.5, "dropout": 0.4},
    {"method": "deepreduce", "rho": 0.5},
    {"method": "fedpm", "rho": 0.5},
    {"method": "fedpm", "rho": 0.5, "server_lr": 0.5, "smoothing": 0.01, "side_information": "on"},
    {"method": "fedmask", "rho": 0.5, "lr": 0.5},
]


@pytest.fixture(scope="module")
def task(tiny_cache: Path) -> Task:
    return load_task(tiny.config())


@pytest.fixture(scope="module", params=VARIANTS, ids=lambda changes: "-".join(map(str, changes.values())))
def played(request: pytest.FixtureRequest, task: Task) -> tuple[RunConfig, Witness]:
    config = tiny.config(rounds=5, **request.param)
    witness = Witness()
    for _ in simulate(config, task=task, observer=witness):
        pass
    return config, witness


def law_of(config: RunConfig) -> downlink.MaskLaw:
    law = methods.get(config.method).masks
    assert law is not None
    return law


def assert_same_memory(left: ThetaMemory, right: ThetaMemory) -> None:
    np.testing.assert_array_equal(left.theta, right.theta)
    np.testing.assert_array_equal(left.ones, right.ones)
    np.testing.assert_array_equal(left.head, right.head)
    assert left.seen == right.seen


def test_a_client_that_hears_every_broadcast_holds_the_servers_theta(
    played: tuple[RunConfig, Witness], task: Task
) -> None:
    config, witness = played
    memory: ThetaMemory | None = None
    moved = 0
    for round in range(1, 6):
        before = memory.theta if memory else None
        memory = downlink.receive(
            law_of(config), config, task.d, task.head_size, round, witness.broadcasts[round], memory
        )
        assert_same_memory(memory, witness.checkpoints[round - 1].state.now)
        moved += before is not None and int((before != memory.theta).sum())
    assert moved > 100


def test_a_snapshot_leaves_a_client_as_the_whole_chain_does(played: tuple[RunConfig, Witness], task: Task) -> None:
    config, witness = played
    snapshot = methods.get(config.method).snapshot
    assert snapshot is not None
    for round in range(2, 6):
        state = witness.checkpoints[round - 1].state
        message = snapshot(config, state, round)
        assert_same_memory(
            downlink.receive(law_of(config), config, task.d, task.head_size, round, message, None), state.now
        )


def test_what_is_sent_down_is_far_less_than_theta(played: tuple[RunConfig, Witness], task: Task) -> None:
    config, witness = played
    for round in range(2, 6):
        assert 8 * len(witness.broadcasts[round]) < 1.6 * task.d
    dense = list(simulate(config.replace(downlink="fp32", rounds=2), task=task))
    assert dense[2].bpp_down > 32  # θ_g and the head in float32


def test_both_downlinks_lead_to_the_same_masks(task: Task) -> None:
    for changes in VARIANTS[2:4]:
        config = tiny.config(rounds=3, **changes)
        if config.rho < 1:
            continue
        counted, dense = Witness(), Witness()
        for downlink_kind, witness in (("counts", counted), ("fp32", dense)):
            for _ in simulate(config.replace(downlink=downlink_kind), task=task, observer=witness):
                pass
        assert counted.payloads == dense.payloads


def test_each_client_is_charged_what_brings_it_up_to_date(task: Task) -> None:
    """By hand: the broadcasts since its last round, or the snapshot, whichever is shorter."""
    config = tiny.config(method="fedpm", clients=6, rho=0.3, rounds=8, min_client_samples=8)
    witness = Witness()
    records = list(simulate(config, task=load_task(config), observer=witness))
    size = {round: len(message) for round, message in witness.broadcasts.items()}
    last = dict.fromkeys(range(6), 0)
    snapshots = chains = 0
    for record in records[1:]:
        snapshot = methods.get("fedpm").snapshot(config, witness.checkpoints[record.round - 1].state, record.round)  # type: ignore[misc]
        due = 0
        for client in sampled_clients(config, record.round):
            chain = sum(size[past] for past in range(last[client] + 1, record.round + 1))
            due += min(chain, len(snapshot))
            snapshots += chain > len(snapshot)
            chains += last[client] + 1 < record.round and chain <= len(snapshot)
            last[client] = record.round
        assert record.downlink_bytes == due
    assert snapshots > 0
    assert chains > 0


@pytest.mark.parametrize("kind", ["counts", "fp32"])
def test_a_run_that_goes_on_charges_the_same_as_one_that_was_never_stopped(kind: Downlink) -> None:
    config = tiny.config(clients=6, rho=0.3, rounds=6, aggregation="unbiased", downlink=kind)
    task = load_task(config)
    whole = Witness()
    records = list(simulate(config, task=task, observer=whole))
    for stop in (1, 3):
        rest = list(simulate(config, task=task, start=whole.checkpoints[stop]))
        assert [tiny.timeless(record) for record in rest] == [tiny.timeless(record) for record in records[stop + 1 :]]


def test_a_dense_downlink_is_complete_so_nobody_is_charged_for_what_it_missed() -> None:
    config = tiny.config(clients=6, rho=0.3, rounds=4, downlink="fp32")
    for record in list(simulate(config))[1:]:
        assert record.downlink_bytes == config.clients_per_round * record.broadcast_bytes


def test_a_dense_method_sends_everything_each_time(task: Task) -> None:
    config = tiny.config(method="linear-probe", rho=0.5, rounds=3)
    delivery = Delivery(methods.get("linear-probe"), task, config, (100, 200))
    assert delivery.missed(0, 3) == range(3, 4)


def test_theta_before_a_round_is_rebuilt_from_the_run_folder(tmp_path: Path, tiny_cache: Path) -> None:
    config = tiny.config(rounds=4, keep_payloads="few")
    folder = RunFolder.create(tmp_path / "run", config)
    witness = Witness()
    execute(folder, config, on_record=lambda record: None, show=lambda *_: None)
    for _ in simulate(config, observer=witness):
        pass
    run = load_run(tmp_path / "run")
    for round in range(1, 5):
        np.testing.assert_array_equal(theta_before(run, round), witness.checkpoints[round - 1].state.theta)
    (tmp_path / "run" / "payloads" / "r0002-down.bin").unlink()
    assert theta_before(run, 1).shape == (run.task["d"],)
    with pytest.raises(StoreError, match="has not kept the broadcast of round 2"):
        theta_before(run, 3)
    with pytest.raises(StoreError, match="linear-probe sends no θ_g"):
        theta_before(replace(run, config=config.replace(method="linear-probe")), 1)


def test_a_client_refuses_what_no_server_can_mean(task: Task) -> None:
    config = tiny.config()
    memory = downlink.first(config, task.d, np.zeros(task.head_size, np.float32))
    none = np.zeros(task.d, np.int32)
    flipped = none.copy()
    flipped[5] = 3  # more ones than masks
    bad = {
        "not in ascending order": Change(none, np.array([2, 1], np.uint32)),
        "beyond the last one": Change(none, np.array([4], np.uint32)),
        "masks cannot have": Change(flipped, np.array([0, 1, 2], np.uint32)),
    }
    for reason, change in bad.items():
        message = downlink.encode_change(law_of(config), config, memory, 2, change)
        with pytest.raises(DecodeError, match=reason):
            downlink.receive(law_of(config), config, task.d, task.head_size, 2, message, memory)
    fine = downlink.encode_change(law_of(config), config, memory, 2, Change(none, np.array([0, 3], np.uint32)))
    with pytest.raises(DecodeError, match="round is 2, expected 3"):
        downlink.receive(law_of(config), config, task.d, task.head_size, 3, fine, memory)


# The coder


@settings(deadline=None, max_examples=60)
@given(
    most=st.integers(1, 60), d=st.integers(0, 3000), kinds=st.integers(1, 20), density=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_counts_come_back_exactly(most: int, d: int, kinds: int, density: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.where(rng.random(d) < density, rng.integers(-most, most + 1, d), 0).astype(np.int32)
    of = rng.integers(0, kinds, d)
    body = counts.encode(values, most, lambda start, stop: of[start:stop], kinds)
    np.testing.assert_array_equal(counts.decode(body, d, most, lambda start, stop: of[start:stop], kinds), values)
    tabled = counts.decode_tabled(counts.encode_tabled(values + most), d) if d else values + most
    np.testing.assert_array_equal(tabled, values + most)


def test_counts_are_coded_near_their_entropy_given_the_cell() -> None:
    rng = np.random.default_rng(5)
    d, p = 400_000, np.array([0.001, 0.03, 0.4])
    of = rng.integers(0, 3, d)
    values = ((rng.random(d) < p[of]) * rng.choice([-1, 1], d)).astype(np.int32)
    entropy = sum(
        (of == cell).sum() * (-(1 - q) * np.log2(1 - q) - q * np.log2(q / 2)) for cell, q in enumerate(p.tolist())
    )
    bits = 8 * len(counts.encode(values, 5, lambda start, stop: of[start:stop], 3))
    assert entropy * 0.99 < bits < entropy * 1.01
    assert bits < 0.75 * 8 * len(counts.encode(values, 5, lambda start, stop: np.zeros(stop - start, int), 1))


def test_values_beyond_the_declared_range_are_the_callers_fault() -> None:
    with pytest.raises(ValueError, match="beyond ±2"):
        counts.encode(np.array([0, 3], np.int32), 2, lambda start, stop: np.zeros(stop - start, int), 1)


def test_a_large_table_is_sent_plainly() -> None:
    values = np.arange(10_000, dtype=np.uint16)
    body = counts.encode_tabled(values)
    assert len(body) == 4 + 4 * len(values)
    np.testing.assert_array_equal(counts.decode_tabled(body, len(values)), values)
