"""Round 0 with a head from statistics: who is asked, what it costs, that it resumes, and whom it leaves out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deltamask.config import RunConfig
from deltamask.heads import heads, temperature
from deltamask.methods import head_round
from deltamask.methods.base import Receipt
from deltamask.methods.head_round import HeadRoundState
from deltamask.simulation.loop import Checkpoint, exchanges_left, simulate
from deltamask.simulation.records import RoundRecord
from deltamask.task.task import Task, load_task
from tests.support import tiny
from tests.support.tiny import Witness, assert_same_state, timeless

FORMULAS = [name for name in heads if name != "probe"]
CHANGES: dict[str, Any] = {"head_init": "gram", "rho": 0.5, "clients": 6, "dirichlet_alpha": 0.5}


@pytest.fixture(scope="module")
def task(tiny_cache: Path) -> Task:
    return load_task(tiny.config(**CHANGES))


def play(config: RunConfig, task: Task | None = None, start: Checkpoint | None = None) -> Witness:
    witness = Witness()
    list(simulate(config, task=task, start=start, observer=witness))
    return witness


def head_of(witness: Witness) -> np.ndarray:
    head: np.ndarray = witness.checkpoints[0].state.head
    return head


def update(config: RunConfig, task: Task, payloads: list[tuple[int, bytes]]) -> tuple[HeadRoundState, list[Receipt]]:
    """The server's state after the first exchange of round 0."""
    method, receipts = head_round.method_of(config, 0), list[Receipt]()
    state = method.init(task, config, np.zeros(task.head_size, np.float32))
    return method.server_update(config, state, 0, iter(payloads), receipts.append), receipts


def uploads(config: RunConfig, task: Task) -> list[tuple[int, bytes]]:
    method = head_round.method_of(config, 0)
    return [(client, method.client_update(task, config, 0, client, None).payload) for client in range(config.clients)]


@pytest.mark.parametrize("name", FORMULAS)
def test_every_client_is_asked_once_and_every_byte_is_in_the_account(task: Task, name: str) -> None:
    config = tiny.config(**{**CHANGES, "head_init": name})
    witness = play(config, task)
    record = witness.records[0]
    assert [client.client for client in record.clients] == list(range(6))
    assert [len(later.clients) for later in witness.records[1:]] == [3, 3]
    losses = 24 + 8 * len(temperature.GRID)
    for client in record.clients:
        assert client.uplink_bytes == len(witness.payloads[0, client.client]) + losses
        assert client.dropped is None
    assert record.uplink_bytes == sum(client.uplink_bytes for client in record.clients)
    assert record.bpp_up == pytest.approx(8 * record.uplink_bytes / (6 * task.d))
    assert record.downlink_bytes == 6 * record.broadcast_bytes
    assert record.bpp_down == pytest.approx(8 * record.broadcast_bytes / task.d)
    assert record.broadcast_bytes > 24 + 4 * task.head_size * 0.8  # the question, then the head
    assert record.accuracy > 0.4
    assert {key for key in witness.payloads if key[0] == 0} == {(0, client) for client in range(6)}


def test_a_chosen_temperature_only_scales_the_head(task: Task) -> None:
    fixed = play(tiny.config(**CHANGES, head_temperature=0.25), task)
    chosen = play(tiny.config(**CHANGES), task)
    assert fixed.records[0].head_temperature == 0.25
    factor = chosen.records[0].head_temperature
    assert factor in temperature.GRID
    assert factor is not None
    np.testing.assert_allclose(head_of(chosen) / factor, head_of(fixed) / 0.25, rtol=1e-6)
    assert fixed.records[0].accuracy == chosen.records[0].accuracy
    assert fixed.records[0].uplink_bytes == sum(map(len, (fixed.payloads[0, client] for client in range(6))))


@pytest.mark.parametrize("name", ["ncm", "gram", "gram-rp"])
def test_two_splits_of_the_same_data_give_the_same_head(name: str) -> None:
    """Bit for bit, temperature and all, whatever α and however many clients there are."""
    config = tiny.config(**{**CHANGES, "head_init": name, "head_min_samples": 1, "rounds": 1, "method": "head-only"})
    one, other = play(config), play(config.replace(dirichlet_alpha=100.0, clients=9, rho=1.0))
    assert one.records[0].clients[0].samples != other.records[0].clients[0].samples
    np.testing.assert_array_equal(head_of(one), head_of(other), strict=True)
    assert one.records[0].head_temperature == other.records[0].head_temperature


@pytest.mark.parametrize("method", ["deltamask", "fedpm", "finetune", "lora", "linear-probe", "head-only"])
def test_a_run_goes_on_from_any_checkpoint_as_if_never_stopped(task: Task, method: str) -> None:
    config = tiny.config(**CHANGES, method=method, rounds=3, local_loss="balanced", dropout=0.2)
    whole = play(config, task)
    assert exchanges_left(config, None) == 5
    for stop in range(4):
        rest = play(config, task, whole.checkpoints[stop])
        assert exchanges_left(config, whole.checkpoints[stop]) == 3 - stop
        assert list(map(timeless, rest.records)) == list(map(timeless, whole.records[stop + 1 :]))
        if rest.checkpoints:
            assert_same_state(rest.checkpoints[-1].state, whole.checkpoints[-1].state)


def test_stopping_between_the_two_exchanges_is_harmless(task: Task) -> None:
    class Interrupted(Witness):
        def progress(self, what: str, done: int, total: int) -> None:
            steps.append(done)
            if steps.count(6) == 1 and done == 1:
                raise KeyboardInterrupt

    steps: list[int] = []
    config = tiny.config(**CHANGES, rounds=1)
    with pytest.raises(KeyboardInterrupt):
        list(simulate(config, task=task, observer=Interrupted()))
    assert list(map(timeless, play(config, task).records)) == list(map(timeless, simulate(config, task=task)))


@pytest.mark.parametrize("name", FORMULAS)
def test_client_whose_features_are_nan_is_named_and_the_rest_goes_on(task: Task, name: str) -> None:
    config = tiny.config(**{**CHANGES, "head_init": name, "rounds": 1, "method": "head-only"})
    sick_x = task.train_x.clone()
    sick_x[torch.from_numpy(task.shards[2])] = torch.nan
    sick = dataclasses.replace(task, train_x=sick_x)
    record = play(config, sick).records[0]
    assert {client.client: client.dropped for client in record.clients if client.dropped} == {
        2: "features are NaN or infinite"
    }
    assert record.accuracy > 0.4
    others = [(client, payload) for client, payload in uploads(config, task) if client != 2]
    assert np.isfinite(update(config, task, others)[0].head).all()


@pytest.mark.parametrize("name", FORMULAS)
def test_statistics_sent_twice_count_once_and_lies_not_at_all(task: Task, name: str) -> None:
    config = tiny.config(**{**CHANGES, "head_init": name})
    honest = uploads(config, task)
    plain, _ = update(config, task, honest)
    twice, receipts = update(config, task, [honest[0], *honest])
    assert_same_state(plain, twice)
    assert [bool(receipt.dropped) for receipt in receipts] == [False, True, *5 * [False]]

    liar = dataclasses.replace(task, shards=[task.shards[0][:-1], *task.shards[1:]])
    lie = head_round.method_of(config, 0).client_update(liar, config, 0, 0, None).payload
    without, _ = update(config, task, honest[1:])
    with_lie, receipts = update(config, task, [(0, lie), *honest[1:]])
    assert_same_state(without, with_lie)
    assert "registered" in str(receipts[0].dropped)


def test_nobody_answers_and_the_head_is_zero(task: Task) -> None:
    state, receipts = update(tiny.config(**CHANGES), task, [(client, b"lost") for client in range(6)])
    assert all(receipt.dropped for receipt in receipts)
    assert not state.solved
    assert not state.head.any()
    record = next(iter(simulate(tiny.config(**CHANGES, dropout=0.999999), task=task)))
    assert record.skipped
    assert record.head_temperature is None


def test_a_client_that_vanishes_leaves_its_samples_out(task: Task) -> None:
    config = tiny.config(**CHANGES, dropout=0.5, rounds=1)
    record: RoundRecord = next(iter(simulate(config, task=task)))
    lost = [client.client for client in record.clients if client.dropped]
    assert 0 < len(lost) < 6
    honest = [(client, payload) for client, payload in uploads(config, task) if client not in lost]
    state, _ = update(config, task, honest)
    kept = play(config, task)
    assert record.head_temperature is not None
    np.testing.assert_array_equal(head_round.scaled(state, record.head_temperature).head, head_of(kept))
