"""Every registered method, over real rounds: its bytes, its records, and what hostile payloads do to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deltamask import methods
from deltamask.codecs import codecs
from deltamask.codecs.wire import dense
from deltamask.codecs.wire.message import HEADER_BYTES
from deltamask.conformance.methods import Server
from deltamask.masking.masks import ONE, THETA_MAX, THETA_MIN
from deltamask.masking.noise import PublicNoise
from deltamask.methods.base import state_arrays
from deltamask.methods.deltamask import context
from deltamask.simulation.loop import simulate
from deltamask.simulation.records import unpacked
from deltamask.task.task import Task, load_task
from tests.support import tiny
from tests.support.tiny import Witness, assert_same_state

ROUND = 1
METHODS = methods.names()


@pytest.fixture(scope="module")
def task(tiny_cache: Path) -> Task:
    return load_task(tiny.config())


@pytest.fixture(scope="module", params=METHODS)
def run(request: pytest.FixtureRequest, task: Task) -> tuple[str, Witness]:
    """Two rounds after the probing round, with everything that was seen."""
    witness = Witness()
    for _ in simulate(tiny.config(method=request.param), task=task, observer=witness):
        pass
    return request.param, witness


def test_the_ledger_counts_the_payloads_and_nothing_else(run: tuple[str, Witness], task: Task) -> None:
    _name, witness = run
    assert [record.round for record in witness.records] == [0, 1, 2]
    for record in witness.records:
        sizes = {client: len(payload) for (round, client), payload in witness.payloads.items() if round == record.round}
        assert sizes.keys() == {0, 1, 2, 3}
        assert record.uplink_bytes == sum(sizes.values()) > 0
        assert {client.client: client.uplink_bytes for client in record.clients} == sizes
        assert record.bpp_up == pytest.approx(8 * record.uplink_bytes / (4 * task.d), rel=1e-12)
        assert record.bpp_down == pytest.approx(8 * record.downlink_bytes / (4 * task.d), rel=1e-12)
        assert record.bpp_total == record.bpp_up + record.bpp_down
        assert record.broadcast_bytes == len(witness.broadcasts[record.round]) > 0
        assert record.downlink_bytes == 4 * record.broadcast_bytes  # nobody missed a round


def test_every_method_begins_with_the_same_probing_round(run: tuple[str, Witness], task: Task) -> None:
    _, witness = run
    first = next(iter(simulate(tiny.config(method="linear-probe"), task=task)))
    assert tiny.timeless(witness.records[0]) == tiny.timeless(first)
    assert witness.records[0].accuracy > 0.4  # chance is 0.1
    assert witness.records[0].flips is None


def test_records_are_json_and_hold_what_the_format_promises(run: tuple[str, Witness], task: Task) -> None:
    name, witness = run
    stages = {"broadcast", "train", "encode", "decode", "aggregate", "evaluate"}
    promised = {
        "round", "accuracy", "loss", "uplink_bytes", "downlink_bytes", "bpp_up", "bpp_down", "flips", "kept",
        "false_flips", "entropy_iid", "entropy_side", "clients", "seconds",
    }  # fmt: skip
    of_client = {"client", "samples", "accuracy", "uplink_bytes", "flips", "kept", "false_flips", "dropped"}
    for record in witness.records:
        plain = record.to_json()
        assert json.loads(json.dumps(plain, allow_nan=False)) == plain
        assert promised <= plain.keys()
        assert plain["seconds"].keys() == stages
        assert plain["skipped"] is None
        assert all(value >= 0 for value in plain["seconds"].values())
        assert len(plain["clients"]) == 4
        for client in plain["clients"]:
            assert of_client <= client.keys()
            assert client["samples"] == len(task.shards[client["client"]])
            assert client["dropped"] is None
            assert 0 <= client["accuracy"] <= 1
        assert 0 <= plain["accuracy"] <= 1
        assert (record.hits is None) == (record.round == 0)  # both other rounds are among the last ten
        if record.hits is not None:
            assert unpacked(record.hits, len(task.test_y)).mean() == pytest.approx(record.accuracy)
        if methods.get(name).masks and record.round > 0:
            assert sum(plain["theta_histogram"]) == task.d


def test_hits_are_those_of_the_last_ten_rounds(task: Task) -> None:
    records = list(simulate(tiny.config(method="linear-probe", rounds=12), task=task))
    assert [record.round for record in records if record.hits] == list(range(3, 13))


def test_flips_kept_and_false_flips_are_those_of_the_payloads(run: tuple[str, Witness], task: Task) -> None:
    name, witness = run
    config = tiny.config(method=name)
    codec = {"deltamask": config.codec, "deepreduce": "bloom-p0"}.get(name)
    if codec is None:
        assert all(client.flips is None for record in witness.records for client in record.clients)
        return
    for before, record in zip(witness.checkpoints, witness.records[1:], strict=False):
        for client in record.clients:
            payload = witness.payloads[record.round, client.client]
            known = context(config, before.state.theta, before.state.layers, record.round, client.client)
            decoded = codecs[codec].decode(payload, known)
            assert client.kept == client.flips  # κ = 1
            assert len(decoded) == client.kept + client.false_flips
        for field in ("flips", "kept", "false_flips"):
            assert getattr(record, field) == np.mean([getattr(client, field) for client in record.clients])
        assert record.kept_by_layer is not None
        assert sum(record.kept_by_layer.values()) == sum(client.kept for client in record.clients)
        assert list(record.kept_by_layer) == [layer.name for layer in task.tail.layers]
        d, kept = task.d, [client.kept for client in record.clients]
        entropy = [-(k * np.log2(k / d) + (d - k) * np.log2(1 - k / d)) / d for k in kept]
        assert record.entropy_iid == pytest.approx(np.mean(entropy), rel=1e-6)


def test_false_flips_of_an_exact_codec_are_none_and_of_bfuse8_about_d_over_256(task: Task) -> None:
    def false_flips(codec: str) -> list[float]:
        config = tiny.config(codec=codec, rounds=6)
        return [float(record.false_flips or 0) for record in simulate(config, task=task) if record.round]

    assert false_flips("mask") == [0.0] * 6
    expected = task.d / 256
    assert abs(np.mean(false_flips("bfuse8")) - expected) < 4 * np.sqrt(expected / 24)


@pytest.mark.parametrize("name", ["fedpm", "fedmask", "deepreduce"])
def test_side_information_saves_bits_and_changes_nothing_else(task: Task, name: str) -> None:
    blind, given = (
        list(simulate(tiny.config(method=name, side_information=known, lr=0.3, rounds=4), task=task))
        for known in ("off", "on")
    )
    for without, record in zip(blind, given, strict=True):
        assert (record.accuracy, record.loss, record.theta_histogram) == (
            without.accuracy, without.loss, without.theta_histogram,
        )  # fmt: skip
    assert given[-1].bpp_up < 0.8 * blind[-1].bpp_up


def test_kappa_limits_what_is_sent_and_cosine_lowers_it(task: Task) -> None:
    for record in simulate(tiny.config(kappa=0.3, lr=0.3), task=task):
        for client in record.clients if record.round else []:
            assert client.kept == -(-3 * client.flips // 10)
    last = list(simulate(tiny.config(kappa=0.8, kappa_schedule="cosine", lr=0.3, rounds=4), task=task))[-1]
    for client in last.clients:
        assert client.kept == np.ceil(client.flips * 0.8 * 0.5 * (1 + np.cos(np.pi * 3 / 4)))


def test_shared_noise_gives_all_clients_one_u_and_per_client_noise_does_not(task: Task) -> None:
    state = methods.get("deltamask").init(task, tiny.config(), np.zeros(task.head_size, np.float32))

    def words(noise: str, client: int) -> list[int]:
        known = context(tiny.config(noise=noise), state.theta, state.layers, ROUND, client)
        return known.noise.words(0, 100).tolist()

    assert words("shared", 0) == words("shared", 1)
    assert words("per_client", 0) != words("per_client", 1)
    assert words("per_client", 0) != words("shared", 0)


# Hostile payloads, fed straight to the server


def server_of(name: str, task: Task, **changes: Any) -> Server:
    """A method with a state and four honest payloads for round 1, and payloads of other rounds."""
    return Server(name, task, tiny.config(method=name, **changes))


VARIANTS = [(name, {}) for name in METHODS] + [
    ("deltamask", {"codec": "mask", "aggregation": "unbiased"}),
    ("fedpm", {"side_information": "on"}),
    ("deepreduce", {"side_information": "on"}),
    ("lora", {"update_codec": "eden4"}),
    ("fed-sb", {"adapter_bases": "weights"}),  # whose first round sends R
    ("finetune", {"update_codec": "fp16"}),
]


@pytest.fixture(scope="module", params=VARIANTS, ids=lambda variant: "-".join([variant[0], *variant[1].values()]))
def server(request: pytest.FixtureRequest, task: Task) -> Server:
    name, changes = request.param
    return server_of(name, task, **changes)


def _flip_bit(payload: bytes, at: int) -> bytes:
    damaged = bytearray(payload)
    damaged[at] ^= 0x10
    return bytes(damaged)


HOSTILE: dict[str, Callable[[Server], bytes]] = {
    "empty": lambda server: b"",
    "one byte": lambda server: b"\0",
    "garbage": lambda server: np.random.default_rng(1).bytes(len(server.honest[1][1])),
    "zeros": lambda server: bytes(len(server.honest[1][1])),
    "only the front": lambda server: server.honest[1][1][: min(HEADER_BYTES + 8, len(server.honest[1][1]) - 4)],
    "half": lambda server: server.honest[1][1][: len(server.honest[1][1]) // 2],
    "all but the last byte": lambda server: server.honest[1][1][:-1],
    "something behind": lambda server: server.honest[1][1] + b"\0",
    "twice": lambda server: server.honest[1][1] * 2,
    "bit flipped in front": lambda server: _flip_bit(server.honest[1][1], 3),
    "bit flipped in the middle": lambda server: _flip_bit(server.honest[1][1], len(server.honest[1][1]) // 2),
    "bit flipped at the end": lambda server: _flip_bit(server.honest[1][1], -1),
    "another round's": lambda server: server.other_round,
    "another client's": lambda server: server.honest[2][1],
    "the broadcast": lambda server: server.method.broadcast(server.config, server.state, ROUND),
}


@pytest.mark.parametrize("attack", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_payload_costs_its_client_the_round_and_nobody_else(
    server: Server, attack: Callable[[Server], bytes]
) -> None:
    payloads = [(client, attack(server) if client == 1 else payload) for client, payload in server.honest]
    state, receipts = server.update(payloads)
    assert [receipt.client for receipt in receipts] == [0, 1, 2, 3]
    assert [bool(receipt.dropped) for receipt in receipts] == [False, True, False, False]
    assert receipts[1].positions is None
    without, _ = server.update([entry for entry in server.honest if entry[0] != 1])
    assert_same_state(state, without)
    with_all, receipts = server.update(server.honest)
    assert not any(receipt.dropped for receipt in receipts)
    if server.method.sends != "nothing":
        with pytest.raises(AssertionError):  # the client would have counted
            assert_same_state(state, with_all)


def test_a_second_payload_of_one_client_is_refused_and_the_first_one_stands(server: Server) -> None:
    state, receipts = server.update([server.honest[0], *server.honest])
    assert [receipt.client for receipt in receipts] == [0, 0, 1, 2, 3]
    assert [bool(receipt.dropped) for receipt in receipts] == [False, True, False, False, False]
    assert "client 0 has sent a payload in this round already" in str(receipts[1].dropped)
    once, _ = server.update(server.honest)
    assert_same_state(state, once)


def test_the_state_stays_finite_and_in_range(server: Server) -> None:
    state, _ = server.update([(0, server.honest[0][1]), (1, b"")])
    assert np.isfinite(state.head).all()
    if hasattr(state, "theta"):
        assert THETA_MIN <= state.theta.min() <= state.theta.max() <= THETA_MAX


def test_a_round_in_which_all_payloads_are_lost_changes_nothing(server: Server) -> None:
    before = {name: array.copy() for name, array in state_arrays(server.state).items()}
    state, receipts = server.update([(client, b"lost") for client in range(4)])
    assert all(receipt.dropped for receipt in receipts)
    assert len(receipts) == 4
    assert_same_state(state, before)
    assert_same_state(server.update([])[0], before)


def test_the_server_update_leaves_the_old_state_alone(server: Server) -> None:
    before = {name: array.copy() for name, array in state_arrays(server.state).items()}
    first, _ = server.update(server.honest)
    again, _ = server.update(server.honest)
    assert_same_state(server.state, before)
    assert_same_state(first, again)


@pytest.mark.parametrize("noise", ["shared", "per_client"])
def test_unbiased_aggregation_moves_theta_towards_the_clients_masks(task: Task, noise: str) -> None:
    """θ_g + mean(m̂_k − m_g,k), with masks drawn and flipped here."""
    server = server_of("deltamask", task, codec="mask", aggregation="unbiased", noise=noise, lr=0.3)
    state, receipts = server.update(server.honest)
    theta = server.state.theta
    change = np.zeros(task.d)
    for receipt in receipts:
        u = PublicNoise(server.config.seed, ROUND, None if noise == "shared" else receipt.client).words(0, task.d)
        before = u < theta
        after = before.copy()
        after[receipt.positions] = ~before[receipt.positions]
        change += after.astype(int) - before.astype(int)
    assert np.count_nonzero(change) > 50
    expected = np.clip(np.rint(theta + ONE * change / 4), THETA_MIN, THETA_MAX)
    np.testing.assert_array_equal(state.theta, expected)


def test_fedavg_of_the_head_by_hand(task: Task) -> None:
    server = server_of("linear-probe", task)
    heads = [dense.decode_dense32(payload, task.head_size, ROUND, client) for client, payload in server.honest]
    sizes = [len(shard) for shard in task.shards]
    assert len(set(sizes)) > 1
    state, _ = server.update(server.honest)
    expected = sum(size * head.astype(np.float64) for size, head in zip(sizes, heads, strict=True)) / sum(sizes)
    np.testing.assert_allclose(state.head, expected, rtol=1e-6)
