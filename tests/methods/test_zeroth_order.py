"""FeedSign and DeComFL: what travels, what everyone makes of it, and that it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deltamask import methods
from deltamask.codecs.updates import UpdateContext, updates
from deltamask.codecs.wire.dense import SERVER
from deltamask.codecs.wire.message import HEADER_BYTES, DecodeError, seal
from deltamask.conformance.methods import same_state
from deltamask.methods import feedsign
from deltamask.simulation.loop import Checkpoint, simulate
from deltamask.task.task import Task, load_task
from deltamask.training import zeroth_order
from tests.support import tiny
from tests.support.tiny import Witness, assert_same_state, timeless

NAMES = ["feedsign", "decomfl"]
LR = {"feedsign": 1e-3, "decomfl": 1e-3}


@pytest.fixture(scope="module")
def task(tiny_cache: Path) -> Task:
    return load_task(tiny.config())


def config_of(name: str, **changes: Any) -> Any:
    return tiny.config(**{"method": name, "weight_lr": LR[name], "rounds": 4, "zo_steps": 13, **changes})


def play(task: Task, name: str, start: Checkpoint | None = None, **changes: Any) -> Witness:
    witness = Witness()
    list(simulate(config_of(name, **changes), task=task, start=start, observer=witness))
    return witness


def slopes_of(task: Task, name: str, witness: Witness, round: int, client: int) -> np.ndarray:
    state = witness.checkpoints[round - 1].state
    found, _ = zeroth_order.slopes(
        task, state.head, state.weights, config_of(name), round=round, client=client, walks=name == "decomfl"
    )
    return found


def test_feedsign_walks_against_what_most_clients_say(task: Task) -> None:
    config, witness = config_of("feedsign"), play(task, "feedsign")
    for round in (1, 2):
        before, after = (witness.checkpoints[at].state for at in (round - 1, round))
        votes = np.array([slopes_of(task, "feedsign", witness, round, client) >= 0 for client in range(4)])
        for client in range(4):
            body = np.packbits(votes[client], bitorder="little").tobytes()
            assert witness.payloads[round, client] == seal("votes", round, client, 13, body)
        assert not (votes == votes[0]).all()
        says = np.where(votes.sum(0) >= 2, 1, -1)  # two of four: up
        expected = zeroth_order.moved(config, before.weights, says.astype(np.float32), round)
        np.testing.assert_array_equal(after.weights, expected)
        assert np.abs(after.weights - before.weights).max() <= 13.5 * LR["feedsign"]


def test_decomfl_walks_by_the_average_slopes_weighted_by_samples(task: Task) -> None:
    config, witness = config_of("decomfl"), play(task, "decomfl")
    sizes = np.array([len(shard) for shard in task.shards])
    for round in (1, 2):
        before, after = (witness.checkpoints[at].state for at in (round - 1, round))
        found = np.stack([slopes_of(task, "decomfl", witness, round, client) for client in range(4)])
        for client in range(4):
            at = UpdateContext(config.seed, round, client)
            np.testing.assert_array_equal(
                updates["fp32"].decode(witness.payloads[round, client], 13, at), found[client]
            )
        mean = (sizes @ found / sizes.sum()).astype(np.float32)
        assert np.abs(mean).max() > 0.05
        np.testing.assert_allclose(after.coefficients, mean, rtol=1e-5)
        expected = zeroth_order.moved(config, before.weights, after.coefficients, round)
        np.testing.assert_array_equal(after.weights, expected)


@pytest.mark.parametrize("changes", [{}, {"downlink": "fp32"}])
@pytest.mark.parametrize("name", NAMES)
def test_clients_hold_the_servers_weights_bit_for_bit(task: Task, name: str, changes: dict[str, str]) -> None:
    """In every round, by all broadcasts in order and by a snapshot alike."""
    config, witness, method = config_of(name, **changes), play(task, name, **changes), methods.get(name)
    memory = None
    for round in range(1, 5):
        state = witness.checkpoints[round - 1].state
        memory = method.receive(task, config, round, witness.broadcasts[round], memory)
        assert_same_state(memory, vars(state.held))
        assert method.snapshot is not None
        assert same_state(method.receive(task, config, round, method.snapshot(config, state, round), None), memory)
    with pytest.raises(DecodeError):
        method.receive(task, config, 3, witness.broadcasts[4], memory)


@pytest.mark.parametrize("name", NAMES)
def test_a_round_that_came_to_nothing_is_told_in_no_bytes(task: Task, name: str) -> None:
    config, witness, method = config_of(name), play(task, name), methods.get(name)
    state = witness.checkpoints[3].state
    lost = method.server_update(config, state, 4, iter([(0, b"lost")]), lambda receipt: None)
    assert_same_state(lost, state)
    memory = method.receive(task, config, 4, method.snapshot(config, state, 4), None)
    message = method.broadcast(config, lost, 5)
    assert message == b""
    assert_same_state(method.receive(task, config, 5, message, memory), vars(state.held))


@pytest.mark.parametrize(("name", "body"), [("feedsign", 2), ("decomfl", 52)])
def test_a_round_weighs_the_same_both_ways_and_whatever_d_is(task: Task, name: str, body: int) -> None:
    witness = play(task, name)
    assert {len(payload) for (round, _), payload in witness.payloads.items() if round} == {HEADER_BYTES + body}
    assert {len(witness.broadcasts[round]) for round in (2, 3, 4)} == {HEADER_BYTES + body}


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_and_goes_on_from_every_checkpoint(task: Task, name: str) -> None:
    """From a head that has hardly been trained; a network of 4,352 weights is small enough for it."""
    changes = {"rounds": 6, "zo_steps": 60, "probe_epochs": 2, "rho": 0.5, "dropout": 0.1, "seed": 1}
    whole = play(task, name, **changes)
    assert whole.records[-1].accuracy > whole.records[0].accuracy + 0.02
    for at in (0, 1, 3):
        rest = play(task, name, start=whole.checkpoints[at], **changes)
        assert [timeless(record) for record in rest.records] == [timeless(r) for r in whole.records[at + 1 :]]
        assert_same_state(rest.checkpoints[-1].state, whole.checkpoints[-1].state)


def test_votes_that_are_no_votes_are_refused() -> None:
    config = config_of("feedsign")
    at = UpdateContext(config.seed, 1, SERVER)
    votes = np.where(np.arange(13) % 3, 1, -1).astype(np.float32)
    np.testing.assert_array_equal(feedsign.decode_votes(config, feedsign.encode_votes(config, votes, at), at), votes)
    for body, why in ((b"\0", "1 bytes of votes"), (bytes(3), "3 bytes"), (b"\0\xff", "unused bits")):
        with pytest.raises(DecodeError, match=why):
            feedsign.decode_votes(config, seal("votes", 1, SERVER, 13, body), at)
