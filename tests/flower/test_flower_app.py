"""Runs on nodes give what one process gives, also when nodes miss rounds, forget, or send garbage."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from deltamask.runs.reader import load_run
from tests.support import tiny
from tests.support.remote import in_process, payloads

pytest.importorskip("flwr", reason="`make test-federation` installs it")

from deltamask_flower import server_app, wire
from flwr.app import Message

from tests.support.flower_loop import LoopGrid, loop_nodes, run_on

pytestmark = pytest.mark.federation


@pytest.mark.parametrize(
    "changes",
    [
        {"rho": 0.5, "rounds": 5},
        {"rho": 0.5, "rounds": 5, "downlink": "fp32"},
        {"method": "fedpm", "aggregation": "beta"},
        {"method": "linear-probe"},
        {"method": "finetune", "update_codec": "fp16"},
        {"method": "fed-sb", "update_codec": "eden4", "rho": 0.5, "rounds": 5, "weight_lr": 0.01},
        {"dropout": 0.4, "rounds": 3},
        {"evaluate_on": "validation"},
        {"head_init": "gram", "rho": 0.5, "rounds": 3, "local_loss": "balanced"},
        {"head_init": "gram", "head_refit": 2, "rho": 0.5, "rounds": 5},
        {"head_init": "cof", "head_temperature": 0.5, "method": "head-only"},
    ],
    ids=str,
)
def test_nodes_give_what_one_process_gives_in_payloads_and_in_accounts(changes: dict[str, Any], tmp_path: Path) -> None:
    config = tiny.config(**changes)
    expected = in_process(config)
    run = run_on(config, tmp_path / "run", LoopGrid(loop_nodes(config, tmp_path)))
    assert payloads(run) == expected.payloads
    for record, reference in zip(run.records, expected.records, strict=True):
        for name in ("accuracy", "loss", "uplink_bytes", "downlink_bytes", "broadcast_bytes", "flips", "kept"):
            assert record[name] == getattr(reference, name), name
        assert record["client_accuracy_adapted"] == reference.client_accuracy_adapted
        assert [client["dropped"] for client in record["clients"]] == [c.dropped for c in reference.clients]


def test_what_needs_all_samples_in_one_process_is_refused(tmp_path: Path) -> None:
    config = tiny.config(compare_alone=True)
    with pytest.raises(ValueError, match="compare_alone needs all clients' samples in one process"):
        run_on(config, tmp_path / "run", LoopGrid(loop_nodes(config, tmp_path)))


def test_nodes_that_miss_rounds_are_brought_up_to_date(tmp_path: Path) -> None:
    config = tiny.config(rounds=5)
    lost = {(1, 0), (2, 0), (2, 1), (4, 2)}

    def away(round: int, node: int, reply: Message) -> Message | None:
        return None if (round, node - 100) in lost else reply

    run = run_on(config, tmp_path / "run", LoopGrid(loop_nodes(config, tmp_path), away))
    expected = in_process(config, lost)
    assert payloads(run) == expected.payloads
    assert [record["accuracy"] for record in run.records] == [record.accuracy for record in expected.records]
    assert run.records[1]["clients"][0]["dropped"] == "no answer within 0.5 s"
    sizes = [record["broadcast_bytes"] for record in run.records]
    assert run.records[3]["downlink_bytes"] == sum(sizes[1:4]) + sum(sizes[2:4]) + 2 * sizes[3]


def test_a_node_that_has_forgotten_says_so_and_is_sent_all_of_it_the_next_time(tmp_path: Path) -> None:
    config = tiny.config(rounds=4)

    def forgets(round: int, node: int, reply: Message) -> Message:
        if (round, node) == (1, 100):  # after its answer
            (tmp_path / "0" / "memory.safetensors").unlink()
        return reply

    run = run_on(config, tmp_path / "run", LoopGrid(loop_nodes(config, tmp_path), forgets))
    assert run.records[2]["clients"][0]["dropped"].endswith("messages of rounds 1 to 1 are missing")
    expected = in_process(config, {(2, 0)})
    assert payloads(run) == expected.payloads


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_server_that_begins_again_gives_what_one_that_never_stopped_gives(tmp_path: Path, forgotten: bool) -> None:
    config = tiny.config(rounds=4)
    nodes = loop_nodes(config, tmp_path)

    class PowerCut(BaseException):
        pass

    def cut(round: int, node: int, reply: Message) -> Message:
        if (round, node) == (3, 102):
            raise PowerCut
        return reply

    with pytest.raises(PowerCut):
        run_on(config, tmp_path / "run", LoopGrid(nodes, cut))
    assert [record["round"] for record in load_run(tmp_path / "run").records] == [0, 1, 2]
    if forgotten:  # the node's disk as well: it needs a snapshot, for the new server process has no old broadcasts
        (tmp_path / "0" / "memory.safetensors").unlink()
    run = run_on(config, tmp_path / "run", LoopGrid(nodes))
    expected = in_process(config)
    assert run.state == "finished"
    assert payloads(run) == expected.payloads
    assert [record["accuracy"] for record in run.records] == [record.accuracy for record in expected.records]


def _payload(reply: Message, payload: bytes) -> Message:
    reply.content[wire.PAYLOAD] = wire.pack([payload])
    return reply


def test_garbage_of_every_kind_is_dropped_with_its_reason(tmp_path: Path) -> None:
    config = tiny.config(rounds=2)
    first: dict[int, bytes] = {}

    def meddle(round: int, node: int, reply: Message) -> Message:
        if wire.PAYLOAD not in reply.content:
            return reply
        (payload,) = wire.unpack(reply.content)
        if round == 1:
            first[node] = payload
        if round < 2:
            return reply
        if node == 100:
            return _payload(reply, payload[:40] + b"\xff" * 8 + payload[48:])
        if node == 101:
            return _payload(reply, first[101])
        if node == 102:
            return _payload(reply, first[102] + first[102])
        del reply.content[wire.PAYLOAD]
        return reply

    run = run_on(config, tmp_path / "run", LoopGrid(loop_nodes(config, tmp_path), meddle))
    reasons = [client["dropped"] for client in run.records[2]["clients"]]
    assert all(reasons), reasons
    assert reasons[1] == "round is 1, expected 2"
    assert reasons[3] == "the message has no 'payload'"
    assert run.records[2]["skipped"] is not None


def test_an_unreadable_reply_is_taken_as_none(tmp_path: Path) -> None:
    config = tiny.config(rounds=1)

    class Broken(LoopGrid):
        def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
            replies = super().pull_messages(message_ids)
            if any(reply.metadata.src_node_id == 100 and reply.metadata.group_id == "1" for reply in replies):
                raise ValueError("Unexpected set of `children`")  # what Flower says of a forged object tree
            return replies

    run = run_on(config, tmp_path / "run", Broken(loop_nodes(config, tmp_path)))
    assert [client["dropped"] is None for client in run.records[1]["clients"]] == [False, True, True, True]


def test_a_folder_with_another_run_is_not_gone_on_with(tmp_path: Path) -> None:
    config = tiny.config(rounds=1)
    run_on(config, tmp_path / "run", LoopGrid(loop_nodes(config, tmp_path)))
    other = config.replace(seed=5, lr=0.05)
    with pytest.raises(server_app.StoreError, match="another lr, seed"):
        run_on(other, tmp_path / "run", LoopGrid(loop_nodes(config, tmp_path)))
