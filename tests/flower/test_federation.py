"""The same run on three engines, and a real federation whose nodes and server fail."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deltamask.config import RunConfig
from deltamask.runs.folder import provenance
from deltamask.runs.reader import Run, load_run, read_records
from deltamask.task import feature_cache
from deltamask.task.task import load_task
from tests.support import tiny
from tests.support.remote import in_process, payloads

pytest.importorskip("flwr", reason="`make test-federation` installs it")
ROOT = Path(__file__).resolve().parents[2]

from deltamask_flower.keys import make_node_keys  # noqa: E402
from deltamask_flower.loopback import Federation, start_nodes, wait_for  # noqa: E402
from deltamask_flower.shard import split  # noqa: E402

from tests.support import chaos  # noqa: E402

pytestmark = [pytest.mark.federation, pytest.mark.usefixtures("tiny_cache")]
PATIENCE = float(os.environ.get("DELTAMASK_PATIENCE", "1"))  # on a machine that is busy with other things: more
LATE = 100 * PATIENCE  # seconds after which a round goes on; a killed node is kept out for a minute
LONG = 240 * PATIENCE  # for what must happen, but nobody knows when

EQUAL = tiny.config(clients=3, rounds=2)
FAULTY = tiny.config(clients=3, rounds=5)  # on the same nodes, so of the same seed: it deals the data out
LIED_TO = EQUAL.replace(rounds=1)
ANSWERED = "Push replies from node_id="  # what the SuperLink says of each answer
LOST = {(2, 0), (2, 1), (3, 1), (3, 2), (4, 1), (4, 2)}  # (round, client) whose payload never counts


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("federation")
    chaos.write_app(folder / "app")
    return folder


def _federation(home: Path, name: str, **kind: bool) -> Federation:
    path = os.pathsep.join([str(ROOT), str(ROOT / "flower_app")])
    environment = {"PYTHONPATH": path, "DELTAMASK_CACHE": str(home / "cache")}
    (home / name).mkdir()
    return Federation(home / name, app=home / "app", environment=environment, **kind)


@pytest.fixture(scope="module")
def deployment(home: Path) -> Iterator[Federation]:
    """A SuperLink and three SuperNodes, with TLS and authentication."""
    with _federation(home, "deployment") as federation:
        start_nodes(federation, EQUAL)
        yield federation


def _finish(federation: Federation, config: RunConfig, out: Path) -> Run:
    federation.submit(config, out, wait=LONG, timeout=LONG)
    return _ended(federation, out)


def _ended(federation: Federation, out: Path) -> Run:
    federation.wait(f"{out} ends", lambda: _state(out) in ("finished", "failed"), LONG)
    return load_run(out)


def _state(out: Path) -> str:
    return load_run(out).state if (out / "config.json").exists() else "not yet"


def _assert_same(run: Run, expected: tiny.Witness) -> None:
    """The same payloads byte by byte, the same checkpoint, and records that agree in all that a server can know."""
    assert run.state == "finished", run.status
    assert payloads(run) == expected.payloads
    assert len(run.records) == len(expected.records)
    for record, reference in zip(run.records, expected.records, strict=True):
        assert _comparable(record) == _comparable(reference.to_json())


def _comparable(record: dict[str, object]) -> dict[str, object]:
    """Without times, without what only one who sees both sides can know, and without the words for a loss."""
    unknown = {"seconds", "false_flips", "kept_by_layer"}
    plain = {name: value for name, value in record.items() if name not in unknown}
    clients = [{k: v for k, v in client.items() if k not in unknown} for client in record["clients"]]  # type: ignore[attr-defined]
    return plain | {"clients": [client | {"dropped": client["dropped"] is not None} for client in clients]}


# One result on three engines; the third is at the end


def test_a_deployment_gives_what_one_process_gives(deployment: Federation, home: Path) -> None:
    run = _finish(deployment, EQUAL, home / "deployed")
    _assert_same(run, in_process(EQUAL))


def test_each_node_holds_its_own_data_and_no_other(deployment: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    task = load_task(EQUAL)
    for client in range(EQUAL.clients):
        folder = deployment.node_folder(client)
        shard = sorted(path.name for path in (folder / "shard").iterdir())
        assert shard == ["images.npy", "labels.npy", "shard.json"]
        monkeypatch.setenv("DELTAMASK_CACHE", str(folder / "cache"))
        samples = [features["samples"] for features in feature_cache.entries()]
        assert samples == [{"train": len(task.shards[client]), "test": 0}]


# Faults: one run, in which seven things go wrong


@pytest.fixture(scope="module")
def survived(deployment: Federation, home: Path) -> Run:
    """Round 2: node 0 is killed as it trains, and comes back; node 1 sleeps until the server has gone on. Round 3: node
    1 reports infinitely many flips, node 2 sends a damaged payload. Round 4: node 1 sends a text of 20 MB, node 2 what
    it sent before. Round 5: the server is killed, and goes on.
    """
    out = home / "survived"
    plans: dict[int, dict[str, str]] = {
        0: {"2": "die"}, 1: {"2": "sleep", "3": "infinite", "4": "shout"}, 2: {"3": "garble", "4": "repeat"},
    }  # fmt: skip
    for client, plan in plans.items():
        (deployment.node_folder(client) / "chaos.json").write_text(json.dumps(plan))
    deployment.submit(FAULTY, out, wait=LONG, timeout=LATE)
    wait_for("node 0 dies", lambda: deployment.processes["node-0"].poll() is not None, LONG)
    deployment.revive_node(0, LATE)
    _wait_for_round(deployment, out, 4)
    deployment.kill_superlink()
    deployment.start_superlink()
    return _finish(deployment, FAULTY, out)


def _wait_for_round(federation: Federation, out: Path, round: int) -> None:
    federation.wait(f"round {round}", lambda: any(record["round"] == round for record in read_records(out)), LONG)


def _client(run: Run, round: int, client: int) -> dict[str, Any]:
    (record,) = (record for record in run.records[round]["clients"] if record["client"] == client)
    return record


def test_a_node_killed_in_a_round_is_gone_without(survived: Run) -> None:
    assert _client(survived, 2, 0)["dropped"].startswith("no answer")  # in time, or the SuperLink misses its heartbeat
    assert _client(survived, 2, 2)["dropped"] is None


def test_a_slow_node_is_not_waited_for_and_its_late_answer_counts_nowhere(survived: Run) -> None:
    assert _client(survived, 2, 1)["dropped"] == f"no answer within {LATE:g} s"
    assert (2, 1) not in payloads(survived)


def test_a_node_that_missed_a_round_is_sent_what_it_lacks(survived: Run) -> None:
    sizes = {record["round"]: record["broadcast_bytes"] for record in survived.records}
    assert _client(survived, 3, 0)["dropped"] is None
    # Nodes 0 and 1 were not heard of in round 2, so both are sent its broadcast again.
    assert survived.records[3]["downlink_bytes"] == 2 * (sizes[2] + sizes[3]) + sizes[3]


def test_a_damaged_payload_and_one_of_another_round_are_dropped(survived: Run) -> None:
    assert "checksum" in _client(survived, 3, 2)["dropped"]
    assert _client(survived, 4, 2)["dropped"] == "round is 3, expected 4"


def test_a_report_that_cannot_be_true_costs_the_round_and_a_text_of_20_mb_is_cut(survived: Run) -> None:
    assert _client(survived, 3, 1)["dropped"].startswith("flips = inf, expected a whole number")
    assert _client(survived, 4, 1)["dropped"] == "x" * 1999 + "…"
    assert (survived.path / "rounds.jsonl").stat().st_size < 100_000


def test_a_server_that_was_killed_goes_on_from_its_checkpoint(survived: Run) -> None:
    assert survived.state == "finished", survived.status
    assert [record["round"] for record in survived.records] == [0, 1, 2, 3, 4, 5]
    assert all(client["dropped"] is None for client in survived.records[5]["clients"])


def test_what_survived_is_what_one_process_gives_without_the_lost_payloads(survived: Run) -> None:
    """Who came back has rebuilt the very θ_g: its payloads would differ otherwise."""
    expected = in_process(FAULTY, LOST)
    kept = payloads(survived)
    assert {key: kept[key] for key in expected.payloads} == expected.payloads
    for record, reference in zip(survived.records, expected.records, strict=True):
        assert record["accuracy"] == reference.accuracy
        assert [c["dropped"] is None for c in record["clients"]] == [c.dropped is None for c in reference.clients]


# Who is not let in: one run, with one liar among its three nodes and two strangers who claim a place


@pytest.fixture(scope="module")
def unharmed(deployment: Federation, home: Path) -> Run:
    """Nodes 7 and 8 come before node 0, and say that they are client 0, with keys of their own. Node 7 also says that
    it holds all samples, in a reply of 20 MB; node 8 has another version. Node 2 holds more samples than there are.
    """
    theirs = home / "older" / "deltamask-0.0.1.dist-info"  # installed metadata, found before ours
    theirs.mkdir(parents=True)
    (theirs / "METADATA").write_text("Metadata-Version: 2.1\nName: deltamask\nVersion: 0.0.1\n")
    older = os.pathsep.join([str(home / "older"), deployment.environment["PYTHONPATH"]])
    for node, lie in ((2, "overdo"), (7, "boast")):
        deployment.node_folder(node).mkdir(parents=True, exist_ok=True)
        (deployment.node_folder(node) / "chaos.json").write_text(json.dumps({"hello": lie}))
    deployment.stop_node(0)
    shard = split(EQUAL)[0]
    deployment.add_node(shard, place=7)
    deployment.add_node(shard, place=8, PYTHONPATH=older)
    out = home / "unharmed"
    said = deployment.log("superlink").count(ANSWERED)
    deployment.submit(LIED_TO, out, wait=LONG, timeout=LONG)
    deployment.wait("four answer", lambda: deployment.log("superlink").count(ANSWERED) >= said + 4, LONG)
    deployment.start_node(0)
    return _ended(deployment, out)


def test_nodes_that_lie_at_registration_are_refused_each_with_its_reason(unharmed: Run) -> None:
    assert unharmed.state == "finished", unharmed.status
    notes = "\n".join(unharmed.task["notes"])
    most = LIED_TO.train_samples
    assert f"was refused: label_counts = {most + 1}, expected a whole number from 0 to {most}" in notes
    assert "was refused: it says it is client 0, and its key was registered as 'client-7'" in notes
    assert f"was refused: it has deltamask 0.0.1, here deltamask {provenance()['deltamask']}" in notes
    assert len(notes) < 2000


def test_a_stolen_id_stays_its_owners_and_a_liar_costs_the_run_its_own_data_alone(unharmed: Run) -> None:
    for record in unharmed.records:
        dropped = [client["dropped"] for client in record["clients"]]
        assert dropped[:2] == [None, None]
        assert dropped[2].startswith(f"its node was refused: label_counts = {LIED_TO.train_samples + 1}")
    expected = in_process(LIED_TO, {(0, 2), (1, 2)})
    assert payloads(unharmed) == expected.payloads
    assert [record["accuracy"] for record in unharmed.records] == [record.accuracy for record in expected.records]


def test_a_node_whose_key_nobody_registered_cannot_connect(deployment: Federation) -> None:
    folder = deployment.node_folder(9)
    make_node_keys(folder)
    deployment.start_node(9)
    wait_for("the stranger is turned away", lambda: deployment.processes["node-9"].poll() is not None, LONG)
    assert deployment.processes["node-9"].returncode != 0
    assert "Failed to initialize the connection" in deployment.log("node-9")


# The third engine, last: Ray gives itself half a minute to start, and should not start twice at once


def test_flowers_simulation_gives_what_one_process_gives(home: Path) -> None:
    with _federation(home, "simulation", simulation=True) as federation:
        run = _finish(federation, EQUAL, home / "simulated")
    _assert_same(run, in_process(EQUAL))
