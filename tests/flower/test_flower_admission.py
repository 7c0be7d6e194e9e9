"""Which nodes are let in: those that fit, each for the client whose key it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deltamask.config import RunConfig
from deltamask.runs.folder import provenance
from deltamask.runs.reader import load_run
from tests.support import tiny

pytest.importorskip("flwr", reason="`make test-federation` installs it")

from deltamask_flower import server_app, wire
from flwr.app import Message

from tests.support.flower_loop import Crash, LoopGrid, failed, loop_nodes, run_on

pytestmark = pytest.mark.federation


def _refused(config: RunConfig, out: Path, grid: LoopGrid, **settings: Any) -> str:
    with pytest.raises(server_app.roster.RosterError):
        run_on(config, out, grid, **settings)
    run = load_run(out)
    assert run.state == "failed"
    assert run.records == []
    return str(run.status["message"])


def test_a_run_with_an_attack_is_refused(tmp_path: Path) -> None:
    config = tiny.config(clients=2, attack="zero-mask")
    with pytest.raises(ValueError, match="attack = 'zero-mask': attacks are played in a simulation only"):
        run_on(config, tmp_path / "run", LoopGrid(loop_nodes(config, tmp_path)))
    assert not (tmp_path / "run").exists()


def test_a_node_whose_process_crashed_is_greeted_again_and_one_without_its_shard_is_not(
    tmp_path: Path,
) -> None:
    config = tiny.config(clients=2, rounds=1)
    crashes = iter([True, True, False])

    def crash(round: int, node: int, reply: Message) -> Message:
        if round == -1 and node == 101 and next(crashes):
            raise Crash
        return reply

    nodes = loop_nodes(config, tmp_path)
    assert run_on(config, tmp_path / "run", LoopGrid(nodes, crash)).state == "finished"
    (tmp_path / "1" / "shard" / "labels.npy").unlink()
    message = _refused(config, tmp_path / "other", LoopGrid(nodes))
    assert "node 101 was refused: FileNotFoundError" in message


def test_a_node_with_another_backbone_is_refused_with_both_names(tmp_path: Path) -> None:
    config = tiny.config(clients=2)
    nodes = loop_nodes(config, tmp_path)
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

    message = _refused(config, tmp_path / "run", LoopGrid(loop_nodes(config, tmp_path), older))
    assert f"it has deltamask 0.0.1, here deltamask {provenance()['deltamask']}" in message


def test_a_node_cannot_take_another_clients_place(tmp_path: Path) -> None:
    """It connects first, and says that it is client 0: the key of client 0's node is another."""
    config = tiny.config(clients=2)
    nodes = loop_nodes(config, tmp_path)
    thief, honest = nodes.pop(101), nodes.pop(100)
    thief.node_config["folder"] = honest.node_config["folder"]
    message = _refused(config, tmp_path / "run", LoopGrid({101: thief, 100: honest}))
    assert message.startswith("RosterError: no node for client 1;")  # and client 0's own node was let in
    assert "node 101 was refused: it says it is client 0, and its key was registered as 'client-1'" in message


@pytest.mark.parametrize("name", ["", "client-1x", "node", "client--1"])
def test_a_node_whose_key_was_registered_under_no_clients_name_is_refused(name: str, tmp_path: Path) -> None:
    config = tiny.config(clients=2)
    grid = LoopGrid(loop_nodes(config, tmp_path), names={100: "client-0", 101: name})
    message = _refused(config, tmp_path / "run", grid)
    assert "register it with `--name client-1`" in message


def test_without_registered_names_the_first_that_says_so_is_the_clients_node(tmp_path: Path) -> None:
    """As in a simulation, where nobody has a key."""
    config = tiny.config(clients=2)
    nodes = loop_nodes(config, tmp_path)
    nodes[101].node_config["folder"] = nodes[100].node_config["folder"]
    message = _refused(config, tmp_path / "run", LoopGrid(nodes, names={}), registered=False)
    assert "node 101 was refused: it says it is client 0, as node 100 is" in message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("client", 7),
        ("client", -1),
        ("client", "0"),
        ("client", True),
        ("label_counts", [1]),
        ("label_counts", "x" * 20_000_000),
        ("label_counts", [2**31] * 10),
        ("label_counts", [-1] * 10),
        ("label_counts", [41] * 10),
        ("have", 2**40),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_node_that_says_nonsense_is_refused(field: str, value: Any, tmp_path: Path) -> None:
    config = tiny.config(clients=2)

    def lies(round: int, node: int, reply: Message) -> Message:
        if node == 101:
            reply.content[wire.SHARD][field] = value
        return reply

    message = _refused(config, tmp_path / "run", LoopGrid(loop_nodes(config, tmp_path), lies))
    assert "node 101 was refused" in message
    assert len(message) < 3000


def test_a_node_that_answers_with_no_record_at_all_is_refused(tmp_path: Path) -> None:
    config = tiny.config(clients=2)

    def silent(round: int, node: int, reply: Message) -> Message:
        if node == 101:
            for name in list(reply.content):
                del reply.content[name]
        return reply

    message = _refused(config, tmp_path / "run", LoopGrid(loop_nodes(config, tmp_path), silent))
    assert "node 101 was refused: the message does not say who sent it" in message


def test_a_long_reason_is_cut(tmp_path: Path) -> None:
    config = tiny.config(clients=2)

    def shouts(round: int, node: int, reply: Message) -> Message:
        if node == 101:
            return failed(reply, "\x1b[2J" + "x" * 20_000_000)
        return reply

    message = _refused(config, tmp_path / "run", LoopGrid(loop_nodes(config, tmp_path), shouts))
    assert len(message) < 3000
    assert "\x1b" not in message
