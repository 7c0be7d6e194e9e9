"""Fed-SB: exact averages, B and A by the SVD of a gradient that was really sent, and what each message weighs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deltamask import methods
from deltamask.codecs.updates import UpdateContext, updates
from deltamask.codecs.wire import dense
from deltamask.codecs.wire.message import HEADER_BYTES, DecodeError
from deltamask.conformance.methods import same_state
from deltamask.methods import fed_sb
from deltamask.simulation.delivery import Delivery
from deltamask.simulation.loop import Checkpoint, simulate
from deltamask.task.task import Task, load_task
from deltamask.training import square_adapters
from tests.support import tiny
from tests.support.tiny import Witness, assert_same_state, timeless

METHOD = methods.get("fed-sb")


@pytest.fixture(scope="module")
def task(tiny_cache: Path) -> Task:
    return load_task(tiny.config())


def head_of(task: Task) -> np.ndarray:
    return np.random.default_rng(2).normal(0, 0.3, task.head_size).astype(np.float32)


def config_of(**changes: Any) -> Any:
    return tiny.config(**{"method": "fed-sb", "weight_lr": 0.01, "rounds": 4, **changes})


def play(task: Task, start: Checkpoint | None = None, **changes: Any) -> Witness:
    witness = Witness()
    list(simulate(config_of(**changes), task=task, start=start, observer=witness))
    return witness


def decoded(witness: Witness, round: int, client: int, codec: str, n: int) -> np.ndarray:
    return updates[codec].decode(witness.payloads[round, client], n, UpdateContext(0, round, client))


@pytest.mark.parametrize("bases", ["gradient", "weights"])
def test_the_average_of_r_is_the_average_of_the_products(task: Task, bases: str) -> None:
    """Σ_k n_k·(B·R_k·A) / Σ_k n_k, product by product, against what the server's R stands for."""
    config = config_of(adapter_bases=bases)
    witness = play(task, adapter_bases=bases)
    before, after = (witness.checkpoints[round].state for round in (2, 3))
    weight = task.tail.weights.double()
    mean, total = torch.zeros_like(weight), 0
    for client in range(4):
        held = before.held
        r = held.r + decoded(witness, 3, client, "fp32", len(held.r))
        own = fed_sb.weights(task, config, fed_sb.SquareMemory(r, held.bases, held.head))
        mean += len(task.shards[client]) * (own.double() - weight)
        total += len(task.shards[client])
    assert len({len(shard) for shard in task.shards}) > 1
    ours = fed_sb.weights(task, config, after.held).double() - weight
    assert float((mean / total).abs().max()) > 1e-3
    torch.testing.assert_close(ours, mean / total, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(after.bases, before.bases)


def test_b_and_a_are_the_leading_singular_vectors_of_the_average_gradient_as_it_was_sent(task: Task) -> None:
    config, witness = config_of(), play(task, rounds=1)
    shapes = square_adapters.shapes(task.tail)
    n = int(shapes.prod(1).sum())
    head, mean = witness.checkpoints[0].state.head, np.zeros(n)
    for client in range(4):
        sent = decoded(witness, 1, client, "eden1", n).astype(np.float64)
        gradient, _ = square_adapters.first_gradient(task, head, config, round=1, client=client)
        assert np.corrcoef(sent, gradient)[0, 1] == pytest.approx(np.sqrt(2 / np.pi), abs=0.02)  # one bit's cosine
        mean += len(task.shards[client]) * sent
        assert len(witness.payloads[1, client]) < HEADER_BYTES + n / 8 + 64
    state = witness.checkpoints[1].state
    (outputs, inputs), rank = shapes[0], config.lora_rank
    b, a = np.split(fed_sb.decode_bases(config, shapes, state.bases), [rank * outputs])
    b, a, matrix = b.reshape(outputs, rank), a.reshape(rank, inputs), -mean.reshape(outputs, inputs)
    np.testing.assert_allclose(b.T @ b, np.eye(rank), atol=1e-5)
    np.testing.assert_allclose(a @ a.T, np.eye(rank), atol=1e-5)
    singular = np.linalg.svd(matrix, compute_uv=False)
    np.testing.assert_allclose(np.diag(b.T @ matrix @ a.T), singular[:rank], rtol=1e-4)  # U and V, signs included
    assert not state.r.any()
    assert witness.records[1].accuracy == witness.records[0].accuracy  # nothing has been learnt yet


def test_a_rank_beyond_the_shorter_side_is_that_sides_length(task: Task) -> None:
    witness = play(task, lora_rank=100, rounds=2)
    assert len(witness.checkpoints[-1].state.r) == tiny.FEATURES**2


@pytest.mark.parametrize("changes", [{}, {"update_codec": "eden4"}, {"adapter_bases": "weights"}, {"downlink": "fp32"}])
def test_clients_hold_what_the_server_holds_bit_for_bit(task: Task, changes: dict[str, str]) -> None:
    """In every round, by all broadcasts in order and by a snapshot alike."""
    config, witness = config_of(**changes), play(task, **changes)
    memory = None
    for round in range(1, 5):
        state = witness.checkpoints[round - 1].state
        memory = METHOD.receive(task, config, round, witness.broadcasts[round], memory)
        assert_same_state(memory, vars(state.held))
        assert METHOD.snapshot is not None
        late = METHOD.receive(task, config, round, METHOD.snapshot(config, state, round), None)
        assert same_state(late, memory)
    with pytest.raises(DecodeError):
        METHOD.receive(task, config, 3, witness.broadcasts[4], memory)


def test_a_round_that_came_to_nothing_is_not_told_twice(task: Task) -> None:
    config, witness = config_of(update_codec="eden4"), play(task, update_codec="eden4")
    state = witness.checkpoints[3].state
    delivery = Delivery(METHOD, task, config, [len(witness.broadcasts[round]) for round in (1, 2, 3)])
    lost = METHOD.server_update(config, state, 4, iter([(0, b"lost")]), lambda receipt: None)
    assert_same_state(lost, state)
    memory = METHOD.receive(task, config, 4, witness.broadcasts[4], play_memory(task, witness, 3))
    memory = METHOD.receive(task, config, 5, delivery.method.broadcast(config, lost, 5), memory)
    assert_same_state(memory, vars(state.held))


def play_memory(task: Task, witness: Witness, last: int) -> Any:
    memory = None
    for round in range(1, last + 1):
        memory = METHOD.receive(task, config_of(update_codec="eden4"), round, witness.broadcasts[round], memory)
    return memory


def test_what_a_round_weighs(task: Task) -> None:
    """r² floats up, and as many and two lengths down; B and A once; the head in round 1 alone."""
    witness, n = play(task), 16
    assert {len(witness.payloads[round, client]) for round in (2, 3, 4) for client in range(4)} == {
        HEADER_BYTES + 4 * n
    }
    bases = len(witness.checkpoints[1].state.bases)
    assert bases == HEADER_BYTES + 4 * 4 * (tiny.FEATURES + 4 * tiny.WIDTH)
    assert [len(witness.broadcasts[round]) for round in (2, 3, 4)] == [
        8 + bases,
        8 + HEADER_BYTES + 4 * n,
        8 + HEADER_BYTES + 4 * n,
    ]
    assert dense.decode_dense32(dense.unpack(witness.broadcasts[1], 3)[0], task.head_size, 1, dense.SERVER).any()
    public = play(task, adapter_bases="weights")
    assert len(public.payloads[1, 0]) == HEADER_BYTES + 4 * n
    assert len(public.broadcasts[2]) == 8 + HEADER_BYTES + 4 * n


def test_it_learns_and_goes_on_from_every_checkpoint(task: Task) -> None:
    changes = {"update_codec": "eden4", "rounds": 6, "local_epochs": 3, "rho": 0.5, "dropout": 0.2, "lora_rank": 8}
    whole = play(task, **changes)
    assert whole.records[-1].accuracy > whole.records[0].accuracy + 0.02
    for at in (0, 1, 2, 4):
        rest = play(task, start=whole.checkpoints[at], **changes)
        assert [timeless(record) for record in rest.records] == [timeless(r) for r in whole.records[at + 1 :]]
        assert_same_state(rest.checkpoints[-1].state, whole.checkpoints[-1].state)
