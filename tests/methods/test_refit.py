"""The head found again: who sends what, that clients follow, that it is exact, and whom it leaves out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deltamask.codecs import DecodeError
from deltamask.codecs.wire import dense
from deltamask.config import RunConfig
from deltamask.heads import Sender, agreed, closed_form
from deltamask.methods import methods
from deltamask.methods.base import Receipt
from deltamask.methods.head_round import method_of
from deltamask.methods.participation import refits_head, sampled_clients
from deltamask.methods.refit import update_in
from deltamask.simulation.loop import simulate
from deltamask.task.task import Task, load_task
from deltamask.task.turns import trainers
from tests.support import tiny
from tests.support.tiny import Witness, assert_same_state, timeless

CHANGES: dict[str, Any] = {
    "head_init": "gram", "head_refit": 2, "rho": 0.5, "clients": 6, "rounds": 5, "dirichlet_alpha": 0.5, "codec": "gap",
}  # fmt: skip
REFITTED = [name for name in methods if methods[name].refit is not None]


@pytest.fixture(scope="module")
def task(tiny_cache: Path) -> Task:
    return load_task(tiny.config(**CHANGES))


def play(task: Task, start: Any = None, **changes: Any) -> Witness:
    witness = Witness()
    list(simulate(tiny.config(**(CHANGES | changes)), task=task, start=start, observer=witness))
    return witness


def test_rounds_of_a_refit() -> None:
    config = tiny.config(**CHANGES)
    assert [round for round in range(6) if refits_head(config, round)] == [2, 4, 5]
    assert not any(refits_head(config.replace(head_init="probe"), round) for round in range(6))
    assert not any(refits_head(config.replace(method="linear-probe"), round) for round in range(6))
    assert sampled_clients(config, 2) == list(range(6))
    assert len(trainers(config, 2)) == 3
    assert sampled_clients(config, 1) == trainers(config, 1)


@pytest.mark.parametrize("name", REFITTED)
def test_the_head_is_the_formula_of_everybodys_features_under_the_network_that_opened_the_round(
    task: Task, name: str
) -> None:
    step = 1e-5 if "zo_steps" in methods[name].reads else 0.01  # a sum of many random directions is a long step
    changes: dict[str, Any] = {"method": name, "lr": 0.3, "weight_lr": step, "head_min_samples": 1}
    witness = play(task, **changes)
    config = tiny.config(**(CHANGES | changes))
    opened = witness.checkpoints[3].state  # the state before round 4
    _, weights = next(iter(methods[name].effective(task, config, opened, 3)))
    x, y = task.pooled(task.train_x, weights).numpy(), task.train_y.numpy()
    formula, settings = closed_form("gram"), agreed(config, len(task.classes), task.num_features)
    assert formula is not None
    whole = Sender(0, np.bincount(y, minlength=len(task.classes)))
    expected = formula.solve(formula.total([formula.summarise(x, y, whole, settings)], settings), settings).flat()
    head = witness.checkpoints[4].state.head
    np.testing.assert_allclose(head / np.linalg.norm(head), expected / np.linalg.norm(expected), rtol=0, atol=2e-6)
    assert np.linalg.norm(head) == pytest.approx(np.linalg.norm(opened.head), rel=1e-4)
    if methods[name].masks is not None:  # others learn the head in every round
        np.testing.assert_array_equal(witness.checkpoints[2].state.head, witness.checkpoints[3].state.head)


@pytest.mark.parametrize("name", ["deltamask", "fedpm", "finetune"])
def test_everybody_answers_and_every_byte_counts(task: Task, name: str) -> None:
    witness = play(task, method=name)
    config = tiny.config(**(CHANGES | {"method": name}))
    for record in witness.records[1:]:
        due = refits_head(config, record.round)
        assert len(record.clients) == (6 if due else 3)
        assert record.skipped is None
        for line in record.clients:
            payload = witness.payloads[record.round, line.client]
            assert line.uplink_bytes == len(payload)
            assert line.dropped is None
            assert bool(update_in(config, record.round, payload)) == (line.client in trainers(config, record.round))
        assert record.uplink_bytes == sum(line.uplink_bytes for line in record.clients)
        assert record.bpp_up == pytest.approx(8 * record.uplink_bytes / (len(record.clients) * task.d))


def test_clients_hold_what_the_server_holds_however_many_rounds_they_missed(task: Task) -> None:
    config = tiny.config(**CHANGES)
    witness = play(task)
    method = method_of(config, 1, task.label_counts)
    memory = None
    for round in range(1, 6):
        memory = method.receive(task, config, round, witness.broadcasts[round], memory)
        before = witness.checkpoints[round - 1].state
        np.testing.assert_array_equal(memory.head, before.head)
        np.testing.assert_array_equal(memory.theta, before.theta)
    with pytest.raises(DecodeError):
        method.receive(task, config, 3, witness.broadcasts[2], memory)


@pytest.mark.parametrize("name", ["deltamask", "lora"])
def test_a_run_goes_on_from_every_checkpoint_as_if_it_had_never_stopped(task: Task, name: str) -> None:
    whole = play(task, method=name)
    for at in (1, 2, 4):
        rest = play(task, start=whole.checkpoints[at], method=name)
        assert [timeless(record) for record in rest.records] == [timeless(r) for r in whole.records[at + 1 :]]
        assert_same_state(rest.checkpoints[-1].state, whole.checkpoints[-1].state)


def test_bad_answers_cost_their_sender_the_round_and_nobody_else(task: Task) -> None:
    config = tiny.config(**CHANGES)
    witness = play(task)
    state = witness.checkpoints[1].state
    method = method_of(config, 2, task.label_counts)
    honest = {client: witness.payloads[2, client] for client in range(6)}

    def after(payloads: list[tuple[int, bytes]]) -> tuple[Any, list[Receipt]]:
        receipts: list[Receipt] = []
        return method.server_update(config, state, 2, iter(payloads), receipts.append), receipts

    training = trainers(config, 2)
    idle = next(client for client in range(6) if client not in training)
    update, statistics = dense.unpack(honest[training[0]], 2)
    bad = {
        "cut": honest[0][:-1],
        "empty": b"",
        "no update": dense.pack(b"", statistics),
        "another client's statistics": dense.pack(update, dense.unpack(honest[idle], 2)[1]),
        "another round": witness.payloads[4, training[0]],
    }
    for what, payload in bad.items():
        kept = [(client, honest[client]) for client in honest if client != training[0]]
        _, receipts = after([(training[0], payload), *kept])
        assert {r.client: bool(r.dropped) for r in receipts} == {c: c == training[0] for c in honest}, what
    _, receipts = after([(idle, dense.pack(update, dense.unpack(honest[idle], 2)[1]))])
    assert receipts[0].dropped == "an update of a client that is not to train"
    twice, receipts = after([*honest.items(), (idle, honest[idle])])
    once, _ = after(list(honest.items()))
    assert_same_state(twice, once)
    assert receipts[-1].dropped is not None
    nothing, _ = after([(client, b"") for client in honest])
    np.testing.assert_array_equal(nothing.head, state.head)


def test_a_new_field_left_alone_changes_no_id() -> None:
    assert "head_refit" in RunConfig.model_fields
    assert tiny.config().run_id == tiny.config(head_refit=0).run_id != tiny.config(head_refit=2).run_id
