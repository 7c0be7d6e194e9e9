"""The whole Flower app, server and nodes, over a Grid that is a loop in this process: no network, no waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from deltamask.config import RunConfig
from deltamask.runs.folder import provenance
from deltamask.runs.reader import Run, load_run
from tests.support import tiny
from tests.support.remote import in_process, payloads

pytest.importorskip("flwr", reason="`make test-federation` installs it")

from deltamask_flower import client_app, server_app, shard, wire
from flwr.app import Context, Error, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

pytestmark = pytest.mark.federation
Meddle = Callable[[int, int, Message], Message | None]  # (round, node, reply) → what the server gets of it


class Crash(Exception):
    """A node's process ends without a word."""


class LoopGrid(Grid):
    """Nodes by id, each with its Context; a message is answered when it is sent."""

    def __init__(self, nodes: dict[int, Context], meddle: Meddle = lambda round, node, reply: reply) -> None:
        self.nodes, self.meddle = nodes, meddle
        self.replies: dict[str, Message] = {}
        self.sent = 0

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        ids = []
        for message in messages:
            self.sent += 1
            message.metadata.__dict__["_message_id"] = f"message {self.sent}"
            ids.append(message.metadata.message_id)
            node = message.metadata.dst_node_id
            try:
                reply = client_app.app(message, self.nodes[node])
                kept = self.meddle(int(message.metadata.group_id or -1), node, reply)
            except Exception as error:  # as a SuperNode does it
                crashed = isinstance(error, Crash)
                code = ErrorCode.CLIENT_APP_CRASHED if crashed else ErrorCode.CLIENT_APP_RAISED_EXCEPTION
                kept = Message(Error(code, repr(error)), reply_to=message)
            if kept is not None:
                self.replies[message.metadata.message_id] = kept
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        return [self.replies.pop(name) for name in message_ids if name in self.replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        raise AssertionError("the app asks by itself")

    def get_node_ids(self) -> list[int]:
        return list(self.nodes)

    def create_message(self, *arguments: Any, **options: Any) -> Message:
        raise NotImplementedError

    def set_run(self, run: Any) -> None:
        raise NotImplementedError

    @property
    def run(self) -> Any:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def _identity() -> None:
    """What Flower's executables know before they load an app."""
    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1


def _context(config: RunConfig, node: int, **node_config: Any) -> Context:
    settings = {**config.model_dump(), "out": "", "wait": 5.0, "timeout": 0.5}
    return Context(run_id=1, node_id=node, node_config=node_config, state=RecordDict(), run_config=settings)


def _nodes(config: RunConfig, folder: Path) -> dict[int, Context]:
    """Node 100 holds client 0's data, node 101 client 1's …"""
    for part in shard.split(config):
        part.write(folder / str(part.client) / "shard")
    return {
        100 + client: _context(config, 100 + client, folder=str(folder / str(client)))
        for client in range(config.clients)
    }


def _run(config: RunConfig, out: Path, grid: LoopGrid) -> Run:
    context = _context(config, 1)
    context.run_config["out"] = str(out)
    server_app.app(grid, context)
    return load_run(out)


@pytest.mark.parametrize(
    "changes",
    [
        {"rho": 0.5, "rounds": 5},
        {"rho": 0.5, "rounds": 5, "downlink": "fp32"},
        {"method": "fedpm", "aggregation": "beta"},
        {"method": "linear-probe"},
        {"method": "finetune", "update_codec": "fp16"},
        {"dropout": 0.4, "rounds": 3},
        {"evaluate_on": "validation"},
    ],
    ids=str,
)
def test_nodes_give_what_one_process_gives_in_payloads_and_in_accounts(changes: dict[str, Any], tmp_path: Path) -> None:
    config = tiny.config(**changes)
    expected = in_process(config)
    run = _run(config, tmp_path / "run", LoopGrid(_nodes(config, tmp_path)))
    assert payloads(run) == expected.payloads
    for record, reference in zip(run.records, expected.records, strict=True):
        for name in ("accuracy", "loss", "uplink_bytes", "downlink_bytes", "broadcast_bytes", "flips", "kept"):
            assert record[name] == getattr(reference, name), name
        assert [client["dropped"] for client in record["clients"]] == [c.dropped for c in reference.clients]


def test_nodes_that_miss_rounds_are_brought_up_to_date(tmp_path: Path) -> None:
    config = tiny.config(rounds=5)
    lost = {(1, 0), (2, 0), (2, 1), (4, 2)}

    def away(round: int, node: int, reply: Message) -> Message | None:
        return None if (round, node - 100) in lost else reply

    run = _run(config, tmp_path / "run", LoopGrid(_nodes(config, tmp_path), away))
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

    run = _run(config, tmp_path / "run", LoopGrid(_nodes(config, tmp_path), forgets))
    assert run.records[2]["clients"][0]["dropped"].endswith("messages of rounds 1 to 1 are missing")
    expected = in_process(config, {(2, 0)})
    assert payloads(run) == expected.payloads


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_server_that_begins_again_gives_what_one_that_never_stopped_gives(tmp_path: Path, forgotten: bool) -> None:
    config = tiny.config(rounds=4)
    nodes = _nodes(config, tmp_path)

    class PowerCut(BaseException):
        pass

    def cut(round: int, node: int, reply: Message) -> Message:
        if (round, node) == (3, 102):
            raise PowerCut
        return reply

    with pytest.raises(PowerCut):
        _run(config, tmp_path / "run", LoopGrid(nodes, cut))
    assert [record["round"] for record in load_run(tmp_path / "run").records] == [0, 1, 2]
    if forgotten:  # the node's disk as well: it needs a snapshot, for the new server process has no old broadcasts
        (tmp_path / "0" / "memory.safetensors").unlink()
    run = _run(config, tmp_path / "run", LoopGrid(nodes))
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

    run = _run(config, tmp_path / "run", LoopGrid(_nodes(config, tmp_path), meddle))
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

    run = _run(config, tmp_path / "run", Broken(_nodes(config, tmp_path)))
    assert [client["dropped"] is None for client in run.records[1]["clients"]] == [False, True, True, True]


# Who is let in


def _refused(config: RunConfig, out: Path, grid: LoopGrid) -> str:
    with pytest.raises(server_app.roster.RosterError):
        _run(config, out, grid)
    run = load_run(out)
    assert run.state == "failed"
    assert run.records == []
    return str(run.status["message"])


def test_a_node_whose_process_crashed_is_greeted_again_and_one_without_its_shard_is_not(
    tmp_path: Path,
) -> None:
    config = tiny.config(clients=2, rounds=1)
    crashes = iter([True, True, False])

    def crash(round: int, node: int, reply: Message) -> Message:
        if round == -1 and node == 101 and next(crashes):
            raise Crash
        return reply

    nodes = _nodes(config, tmp_path)
    assert _run(config, tmp_path / "run", LoopGrid(nodes, crash)).state == "finished"
    (tmp_path / "1" / "shard" / "labels.npy").unlink()
    message = _refused(config, tmp_path / "other", LoopGrid(nodes))
    assert "node 101 was refused: FileNotFoundError" in message


def test_a_node_with_another_backbone_is_refused_with_both_names(tmp_path: Path) -> None:
    config = tiny.config(clients=2)
    nodes = _nodes(config, tmp_path)
    nodes[101].run_config["masked_blocks"] = 2
    message = _refused(config, tmp_path / "run", LoopGrid(nodes))
    assert message.startswith(
        "RosterError: no node for client 1; 2 nodes connected; node 101 was refused: it has backbone"
    )
    assert "here backbone tiny (weights" in message


def test_a_node_of_another_version_is_refused_by_the_server_too(tmp_path: Path) -> None:
    config = tiny.config(clients=2)

    def older(round: int, node: int, reply: Message) -> Message:
        if node == 101:
            reply.content[wire.IDENTITY]["version"] = "0.0.1"
        return reply

    message = _refused(config, tmp_path / "run", LoopGrid(_nodes(config, tmp_path), older))
    assert f"it has deltamask 0.0.1, here deltamask {provenance()['deltamask']}" in message


def test_two_nodes_with_one_clients_data_are_not_both_let_in(tmp_path: Path) -> None:
    config = tiny.config(clients=2)
    nodes = _nodes(config, tmp_path)
    nodes[101].node_config["folder"] = nodes[100].node_config["folder"]
    message = _refused(config, tmp_path / "run", LoopGrid(nodes))
    assert "node 101 was refused: it says it is client 0, as node 100 is" in message


@pytest.mark.parametrize(
    ("field", "value"), [("client", 7), ("client", -1), ("client", "0"), ("label_counts", [1]), ("have", 2**40)]
)
def test_a_node_that_says_nonsense_is_refused(field: str, value: Any, tmp_path: Path) -> None:
    config = tiny.config(clients=2)

    def lies(round: int, node: int, reply: Message) -> Message:
        if node == 101:
            reply.content[wire.SHARD][field] = value
        return reply

    assert "node 101 was refused" in _refused(config, tmp_path / "run", LoopGrid(_nodes(config, tmp_path), lies))


def test_a_folder_with_another_run_is_not_gone_on_with(tmp_path: Path) -> None:
    config = tiny.config(rounds=1)
    _run(config, tmp_path / "run", LoopGrid(_nodes(config, tmp_path)))
    other = config.replace(seed=5, lr=0.05)
    with pytest.raises(server_app.StoreError, match="another lr, seed"):
        _run(other, tmp_path / "run", LoopGrid(_nodes(config, tmp_path)))
