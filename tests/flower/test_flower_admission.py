"""Which nodes are let in: those that fit, each for the client whose key it has. The run goes on without the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from deltamask.config import RunConfig
from deltamask.runs.folder import provenance
from deltamask.runs.reader import load_run
from tests.support import tiny
from tests.support.remote import in_process, payloads

pytest.importorskip("flwr", reason="`make test-federation` installs it")

from deltamask_flower import server_app, wire
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord

from tests.support.flower_loop import Crash, LoopGrid, failed, loop_nodes, run_on

pytestmark = pytest.mark.federation
LIAR, ITS = 101, 1  # the node, and the client whose key it has
CONFIG = tiny.config(clients=3, rounds=1, probe_epochs=5)  # many runs: a better head would say nothing more of lies


@pytest.fixture(scope="module")
def without() -> tiny.Witness:
    """The same run when nothing ever comes of the liar."""
    return in_process(CONFIG, {(0, ITS), (1, ITS)})


def _why_absent(without: tiny.Witness, out: Path, grid: LoopGrid, **settings: Any) -> str:
    """Play CONFIG; the run is that of the honest ones. Why its records say that the liar's client is missing."""
    run = run_on(CONFIG, out, grid, **settings)
    assert run.state == "finished", run.status
    assert payloads(run) == without.payloads
    assert [record["accuracy"] for record in run.records] == [record.accuracy for record in without.records]
    reasons = {client["dropped"] for record in run.records for client in record["clients"] if client["client"] == ITS}
    (why,) = reasons  # the same in every round
    assert any(note.startswith(f"without client {ITS}: ") for note in run.task["notes"])
    assert run.task["label_counts"][ITS] == [0] * 10
    return str(why)


def _refused(config: RunConfig, out: Path, grid: LoopGrid, **settings: Any) -> str:
    with pytest.raises(server_app.roster.RosterError):
        run_on(config, out, grid, **settings)
    run = load_run(out)
    assert run.state == "failed"
    assert run.records == []
    return str(run.status["message"])


def of_liar(change: Callable[[Message], Message | None]) -> Callable[[int, int, Message], Message | None]:
    """What the liar answers at registration, changed."""
    return lambda round, node, reply: change(reply) if (round, node) == (-1, LIAR) else reply


def says(field: str, value: Any) -> Callable[[Message], Message]:
    def change(reply: Message) -> Message:
        reply.content[wire.SHARD][field] = value
        return reply

    return change


def without_records(reply: Message) -> Message:
    for name in list(reply.content):
        del reply.content[name]
    return reply


def other_record(name: str, record: ConfigRecord | MetricRecord | ArrayRecord) -> Callable[[Message], Message]:
    def change(reply: Message) -> Message:
        del reply.content[name]
        reply.content[name] = record
        return reply

    return change


def of_version(version: Any) -> Callable[[Message], Message]:
    def change(reply: Message) -> Message:
        reply.content[wire.IDENTITY]["version"] = version
        return reply

    return change


def empty(reply: Message) -> Message:
    reply.__dict__["_content"] = None  # neither a content nor an error
    return reply


def by_another(reply: Message) -> Message:
    reply.metadata.__dict__["_src_node_id"] = 100
    return reply


# What a node may say when it is greeted, and what the record then says of its client
LIES: dict[str, tuple[Callable[[Message], Message], str]] = {
    "a client that is not": (says("client", 7), "client = 7, expected a whole number from 0 to 2"),
    "a negative client": (says("client", -1), "client = -1, expected"),
    "a client in words": (says("client", "1"), "client = '1', expected"),
    "a client that is true": (says("client", True), "client = True, expected"),
    "another's id": (says("client", 0), "it says it is client 0, and its key was registered as 'client-1'"),
    "one class": (says("label_counts", [1]), "label_counts of client 1 are no list of 10 counts"),
    "20 MB for counts": (says("label_counts", "x" * 20_000_000), "label_counts of client 1 are no list"),
    "counts beyond all": (says("label_counts", [2**31] * 10), "label_counts = 2147483648, expected"),
    "counts below zero": (says("label_counts", [-1] * 10), "label_counts = -1, expected"),
    "more than the run has": (says("label_counts", [41] * 10), "client 1 says it holds 410 samples, the whole run has"),
    "nothing": (says("label_counts", [0] * 10), "client 1 says it holds no samples"),
    "a round that is not": (says("have", 2**40), "have = 1099511627776, expected"),
    "no record": (without_records, "the message does not say who sent it"),
    "no content": (empty, "its answer cannot be read: ValueError: Message content is None"),
    "another kind of shard": (other_record(wire.SHARD, MetricRecord({"client": 1})), "'shard' is a MetricRecord"),
    "another kind of identity": (other_record(wire.IDENTITY, MetricRecord({"d": 1})), "the message does not say who"),
    "another version": (of_version("0.0.1"), f"it has deltamask 0.0.1, here deltamask {provenance()['deltamask']}"),
    "20 MB for a version": (of_version("x" * 20_000_000), "it has deltamask xxxx"),
    "a version that is a number": (of_version(3), "the sender's identity is malformed"),
    "a name that is not its own": (by_another, "node 100 answered for it"),
    "an error of 20 MB": (lambda reply: failed(reply, "\x1b[2J" + "x" * 20_000_000), " [2Jxxxx"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_at_registration_costs_its_sender_the_run_and_nobody_else(
    lie: str, without: tiny.Witness, tmp_path: Path
) -> None:
    change, expected = LIES[lie]
    why = _why_absent(without, tmp_path / "run", LoopGrid(loop_nodes(CONFIG, tmp_path), of_liar(change)))
    assert why.startswith(f"its node was refused: {expected}")
    assert len(why) < 2100
    assert why.isprintable()


def test_a_node_with_another_backbone_is_gone_without(without: tiny.Witness, tmp_path: Path) -> None:
    nodes = loop_nodes(CONFIG, tmp_path)
    nodes[LIAR].run_config["masked_blocks"] = 2
    why = _why_absent(without, tmp_path / "run", LoopGrid(nodes))
    assert why.startswith("its node was refused: it has d = ") or "it has backbone" in why
    assert "here" in why


def test_a_node_without_its_shard_is_gone_without(without: tiny.Witness, tmp_path: Path) -> None:
    nodes = loop_nodes(CONFIG, tmp_path)
    (tmp_path / str(ITS) / "shard" / "labels.npy").unlink()
    assert "FileNotFoundError" in _why_absent(without, tmp_path / "run", LoopGrid(nodes))


def test_a_reply_that_cannot_be_put_together_costs_its_sender_the_run(without: tiny.Witness, tmp_path: Path) -> None:
    class Broken(LoopGrid):
        def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
            replies = super().pull_messages(message_ids)
            if any(reply.metadata.src_node_id == LIAR and not reply.metadata.group_id for reply in replies):
                raise ValueError("Unexpected set of `children`")  # what Flower says of a forged object tree
            return replies

    why = _why_absent(without, tmp_path / "run", Broken(loop_nodes(CONFIG, tmp_path)))
    assert why == "its node was refused: its answer cannot be put together"


@pytest.mark.parametrize("kept", [True, False], ids=["silent", "always crashing"])
def test_a_node_that_never_answers_keeps_nobody_out(kept: bool, without: tiny.Witness, tmp_path: Path) -> None:
    """It is the first that is greeted; the others connect meanwhile."""

    def says_nothing(reply: Message) -> None:
        if not kept:
            raise Crash

    class Later(LoopGrid):
        looks = 0

        def get_nodes(self) -> list[Any]:
            self.looks += 1
            return [node for node in super().get_nodes() if self.looks > 2 or node.node_id == LIAR]

    grid = Later(loop_nodes(CONFIG, tmp_path), of_liar(says_nothing))
    assert _why_absent(without, tmp_path / "run", grid, wait=2.0) == "its node never answered, within 2 s"


def test_a_client_whose_node_never_connects_is_gone_without(without: tiny.Witness, tmp_path: Path) -> None:
    nodes = loop_nodes(CONFIG, tmp_path)
    del nodes[LIAR]
    why = _why_absent(without, tmp_path / "run", LoopGrid(nodes), wait=1.0)
    assert why == "no node of it was let in, within 1 s"


def test_strangers_that_claim_every_place_leave_each_to_its_owner(tmp_path: Path) -> None:
    """They come first, and lie about who they are and how much they hold; the owners come later, and all are let in."""
    nodes = loop_nodes(CONFIG, tmp_path)
    thieves = {200 + client: nodes[100 + client] for client in range(CONFIG.clients)}

    class Late(LoopGrid):
        looks = 0

        def get_nodes(self) -> list[Any]:
            self.looks += 1
            return [node for node in super().get_nodes() if self.looks > 3 or node.node_id >= 200]

    def boasts(round: int, node: int, reply: Message) -> Message:
        return says("label_counts", [40] * 10)(reply) if node >= 200 else reply

    names = {node: f"client-{node - 100}" for node in nodes} | {node: f"client-{node}" for node in thieves}
    run = run_on(CONFIG, tmp_path / "run", Late(thieves | nodes, boasts, names))
    assert payloads(run) == in_process(CONFIG).payloads
    assert all(client["dropped"] is None for record in run.records for client in record["clients"])
    assert [note for note in run.task["notes"] if "was refused" in note] == [
        f"node {node} was refused: it says it is client {node - 200}, and its key was registered as 'client-{node}'"
        for node in thieves
    ]


def test_claims_that_cannot_all_be_true_are_noted(tmp_path: Path) -> None:
    """Each alone could be; who lies nobody can say."""
    grid = LoopGrid(loop_nodes(CONFIG, tmp_path), of_liar(says("label_counts", [40] * 10)))
    run = run_on(CONFIG, tmp_path / "run", grid)
    total = sum(map(sum, run.task["label_counts"]))
    assert total > CONFIG.train_samples
    assert any(f"the clients say they hold {total} samples together" in note for note in run.task["notes"])


# A run that goes on


class PowerCut(BaseException):
    pass


def _cut_in_round_1(round: int, node: int, reply: Message) -> Message:
    if round == 1:
        raise PowerCut
    return reply


def test_a_node_that_says_other_counts_when_the_run_goes_on_is_gone_without(tmp_path: Path) -> None:
    nodes = loop_nodes(CONFIG, tmp_path)
    with pytest.raises(PowerCut):
        run_on(CONFIG, tmp_path / "run", LoopGrid(nodes, _cut_in_round_1))
    began = load_run(tmp_path / "run").task["label_counts"]
    other = [began[ITS][0] + 1, *began[ITS][1:]]
    run = run_on(CONFIG, tmp_path / "run", LoopGrid(nodes, of_liar(says("label_counts", other))))
    assert run.state == "finished"
    assert payloads(run) == in_process(CONFIG, {(1, ITS)}).payloads
    assert f"{other} of each class, and when the run began it said" in run.records[1]["clients"][ITS]["dropped"]
    assert run.task["label_counts"] == began, "what it said first is what counts"


def test_a_client_that_was_not_let_in_when_the_run_began_stays_out(without: tiny.Witness, tmp_path: Path) -> None:
    nodes = loop_nodes(CONFIG, tmp_path)

    def lies_at_first(round: int, node: int, reply: Message) -> Message | None:
        return of_liar(says("client", 0))(round, node, _cut_in_round_1(round, node, reply))

    with pytest.raises(PowerCut):
        run_on(CONFIG, tmp_path / "run", LoopGrid(nodes, lies_at_first))
    run = run_on(CONFIG, tmp_path / "run", LoopGrid(nodes))
    assert payloads(run) == without.payloads
    assert run.records[1]["clients"][ITS]["dropped"] == "it was not let in when the run began"
    assert f"node {LIAR} was refused: client {ITS} was not let in when the run began" in run.task["notes"]


# Where too few are left, or where nothing is checked


def test_with_half_of_the_clients_or_fewer_a_run_does_not_begin(tmp_path: Path) -> None:
    config = tiny.config(clients=2)
    nodes = loop_nodes(config, tmp_path)
    thief, honest = nodes.pop(101), nodes.pop(100)
    thief.node_config["folder"] = honest.node_config["folder"]
    message = _refused(config, tmp_path / "run", LoopGrid({101: thief, 100: honest}))
    assert message == (
        "RosterError: 1 of 2 clients have a node, and the run needs 2: no node for client 1; 2 nodes connected; "
        "node 101 was refused: it says it is client 0, and its key was registered as 'client-1'"
    )


def test_how_many_clients_are_enough_is_a_setting(without: tiny.Witness, tmp_path: Path) -> None:
    grid = LoopGrid(loop_nodes(CONFIG, tmp_path), of_liar(says("client", 0)))
    assert "and the run needs 3: no node for client 1" in _refused(CONFIG, tmp_path / "all", grid, least=3)
    assert _why_absent(without, tmp_path / "run", grid, least=2)


def test_a_refusal_of_many_words_is_cut(tmp_path: Path) -> None:
    config = tiny.config(clients=2)
    shouts = of_liar(lambda reply: failed(reply, "\x1b[2J" + "x" * 20_000_000))
    message = _refused(config, tmp_path / "run", LoopGrid(loop_nodes(config, tmp_path), shouts))
    assert len(message) < 3000
    assert "\x1b" not in message


@pytest.mark.parametrize("name", ["", "client-1x", "node", "client--1"])
def test_a_node_whose_key_was_registered_under_no_clients_name_is_refused(name: str, tmp_path: Path) -> None:
    config = tiny.config(clients=2)
    grid = LoopGrid(loop_nodes(config, tmp_path), names={100: "client-0", 101: name})
    message = _refused(config, tmp_path / "run", grid, wait=0.5)
    assert "register it with `--name client-1`" in message


def test_without_registered_names_the_first_that_says_so_is_the_clients_node(tmp_path: Path) -> None:
    """As in a simulation, where nobody has a key."""
    config = tiny.config(clients=2)
    nodes = loop_nodes(config, tmp_path)
    nodes[101].node_config["folder"] = nodes[100].node_config["folder"]
    message = _refused(config, tmp_path / "run", LoopGrid(nodes, names={}), registered=False)
    assert "node 101 was refused: it says it is client 0, as node 100 is" in message


def test_where_nobody_has_a_key_a_run_goes_on_without_a_liar_as_well(without: tiny.Witness, tmp_path: Path) -> None:
    grid = LoopGrid(loop_nodes(CONFIG, tmp_path), of_liar(says("client", 0)), names={})
    why = _why_absent(without, tmp_path / "run", grid, registered=False)
    assert why.startswith("no node of it was let in")


def test_a_run_with_an_attack_is_refused(tmp_path: Path) -> None:
    config = tiny.config(clients=2, attack="zero-mask")
    with pytest.raises(ValueError, match="attack = 'zero-mask': attacks are played in a simulation only"):
        run_on(config, tmp_path / "run", LoopGrid(loop_nodes(config, tmp_path)))
    assert not (tmp_path / "run").exists()


def test_a_node_whose_process_crashed_is_greeted_again(tmp_path: Path) -> None:
    config = tiny.config(clients=2, rounds=1)
    crashes = iter([True, True, False])

    def crash(round: int, node: int, reply: Message) -> Message:
        if round == -1 and node == 101 and next(crashes):
            raise Crash
        return reply

    run = run_on(config, tmp_path / "run", LoopGrid(loop_nodes(config, tmp_path), crash))
    assert all(client["dropped"] is None for record in run.records for client in record["clients"])
