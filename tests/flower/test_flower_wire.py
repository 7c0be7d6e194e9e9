"""What crosses between server and nodes, without any process: our bytes in Flower's records, and who is refused."""

from __future__ import annotations

import io
import pickle
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deltamask.codecs import DecodeError
from deltamask.config import RunConfig
from deltamask.task.task import Task, load_task
from tests.support import tiny

pytest.importorskip("flwr", reason="`make test-federation` installs it")
FLOWER_APP = Path(__file__).resolve().parents[2] / "flower_app"

import settings  # noqa: E402
from deltamask_flower import node, shard, wire  # noqa: E402
from deltamask_flower.keys import make_certificates, make_node_keys  # noqa: E402
from deltamask_flower.wire import Identity  # noqa: E402
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict  # noqa: E402

from deltamask.methods import methods  # noqa: E402
from deltamask.simulation.loop import simulate  # noqa: E402

pytestmark = pytest.mark.federation


def _npy(array: Any, **save: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **save)
    return stream.getvalue()


def _content(array: Array) -> RecordDict:
    return RecordDict({wire.PAYLOAD: ArrayRecord({"0": array})})


@pytest.mark.parametrize("payloads", [[b""], [b"\x00"], [bytes(range(256)) * 9, b"two"]])
def test_payloads_come_back_as_they_went(payloads: list[bytes]) -> None:
    assert wire.unpack(RecordDict({wire.PAYLOAD: wire.pack(payloads)})) == payloads


def test_a_payload_travels_as_uint8_in_numpys_format_without_pickle() -> None:
    (array,) = wire.pack([b"payload"]).values()
    assert (array.dtype, array.shape) == ("uint8", (7,))
    assert np.load(io.BytesIO(array.data), allow_pickle=False).tobytes() == b"payload"
    assert len(array.data) == 7 + 128  # the header, which the ledger does not count


def _lying(shape: str) -> bytes:
    return _npy(np.zeros(7, np.uint8)).replace(b"(7,), ", shape.encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no array at all",
        _npy(np.array([{"a": 1}], dtype=object), allow_pickle=True),
        _npy(np.zeros(7, np.float32)),
        _npy(np.zeros((7, 1), np.uint8)),
        _npy(np.zeros(7, np.uint8))[:-1],
        _npy(np.zeros(7, np.uint8)) + b"\x00",
        _lying("(9**99,)"),
        _lying("(9**9,),"),
        pickle.dumps(print),
    ],
)
def test_whatever_a_node_sends_for_an_array_is_a_decode_error(data: bytes) -> None:
    array = Array(dtype="uint8", shape=(7,), stype="numpy.ndarray", data=data)
    with pytest.raises(DecodeError):
        wire.unpack(_content(array))


def test_a_message_without_a_payload_and_one_in_another_serialisation_are_decode_errors() -> None:
    with pytest.raises(DecodeError, match="no 'payload'"):
        wire.unpack(RecordDict({"other": ConfigRecord({})}))
    with pytest.raises(DecodeError):
        wire.unpack(_content(Array(dtype="uint8", shape=(7,), stype="pickle", data=_npy(np.zeros(7, np.uint8)))))


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task(tiny.config())


def test_equal_peers_are_not_refused(task: Task) -> None:
    identity = Identity.of(tiny.config(), task)
    content = RecordDict({wire.IDENTITY: identity.record()})
    assert Identity.read(content) == identity
    assert identity.refuses(Identity.read(content)) is None


def test_another_d_is_refused_with_both_numbers(task: Task) -> None:
    ours = Identity.of(tiny.config(), task)
    wider = tiny.config(masked_blocks=2)
    theirs = Identity.of(wider, load_task(wider))
    why = ours.refuses(Identity(ours.version, ours.backbone, theirs.d, theirs.head_size))
    assert why == f"it has d = {theirs.d}, here d = {tiny.D}"


def test_other_weights_under_the_same_name_are_refused(task: Task) -> None:
    ours = Identity.of(tiny.config(), task)
    other = load_task(tiny.config())
    other.tail.weights[0] += 1
    why = ours.refuses(Identity.of(tiny.config(), other))
    assert why is not None
    assert "backbone tiny" in why


@pytest.mark.parametrize("record", [None, ConfigRecord({"version": 3}), ConfigRecord({})])
def test_a_sender_that_does_not_say_what_it_is_is_a_decode_error(record: ConfigRecord | None) -> None:
    with pytest.raises(DecodeError):
        Identity.read(RecordDict({} if record is None else {wire.IDENTITY: record}))


def test_a_nodes_features_are_bit_for_bit_those_of_the_whole(task: Task, tmp_path: Path) -> None:
    config = tiny.config()
    for part in shard.split(config):
        part.write(tmp_path / str(part.client))
        own = shard.node_task(config, shard.Shard.read(tmp_path / str(part.client)))
        whole = task.shards[part.client]
        np.testing.assert_array_equal(own.train_x.numpy(), task.train_x[whole].numpy(), strict=True)
        np.testing.assert_array_equal(own.pooled_train.numpy(), task.pooled_train[whole].numpy(), strict=True)
        np.testing.assert_array_equal(own.train_y.numpy(), task.train_y[whole].numpy(), strict=True)


def test_the_server_learns_label_counts_and_no_sample(task: Task) -> None:
    counts = np.array([part.label_counts for part in shard.split(tiny.config())])
    server = shard.with_holdings(shard.server_task(tiny.config()), counts)
    np.testing.assert_array_equal(server.label_counts, task.label_counts)
    assert server.samples.tolist() == [len(part) for part in task.shards]
    assert len(server.train_x) == 0
    np.testing.assert_array_equal(server.test_x.numpy(), task.test_x.numpy(), strict=True)


def test_a_lie_about_counts_costs_the_server_no_memory() -> None:
    """2³¹ samples of each class: they stay a number, and are never written out as labels."""
    counts = np.full((4, 10), 2**31, np.int64)
    server = shard.with_holdings(shard.server_task(tiny.config()), counts)
    assert server.samples.tolist() == [10 * 2**31] * 4
    assert len(server.train_y) == 0
    assert sum(len(part) for part in server.shards) == 0


def test_a_node_catches_up_by_messages_or_by_a_snapshot_alike(task: Task, tmp_path: Path) -> None:
    config = tiny.config(rounds=4)
    seen = tiny.Witness()
    list(simulate(config, task=task, observer=seen))
    method = methods[config.method]
    state = seen.checkpoints[3].state  # after round 3: round 4 is open
    broadcasts = [seen.broadcasts[round] for round in (1, 2, 3, 4)]

    def read(folder: str, messages: list[bytes], snapshot: bool = False) -> Any:
        here = node.Node(0, task, tmp_path / folder)
        return node.read_messages(method, here, config, "run", 4, messages, snapshot)

    by_all = read("a", broadcasts)
    by_snapshot = read("b", [method.snapshot(config, state, 4)], snapshot=True)
    for memory in (by_all, by_snapshot, read("a", [])):  # the last: what it remembers
        np.testing.assert_array_equal(memory.theta, state.theta, strict=True)
        np.testing.assert_array_equal(memory.ones, state.ones, strict=True)
    assert node.remembered(tmp_path / "a", "run")[0] == 4
    assert node.remembered(tmp_path / "a", "another run") == (0, None)
    with pytest.raises(DecodeError, match="rounds 1 to 2 are missing"):
        read("c", broadcasts[2:])


def test_a_damaged_memory_is_no_memory(tmp_path: Path) -> None:
    (tmp_path / "memory.safetensors").write_bytes(b"\x00" * 40)
    assert node.remembered(tmp_path, "run") == (0, None)


def test_private_keys_are_for_their_owner_alone(tmp_path: Path) -> None:
    make_certificates(tmp_path, ["127.0.0.1", "localhost"])
    make_node_keys(tmp_path)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("*.key")} == {
        "server.key": 0o600,
        "node.key": 0o600,
    }


def test_the_apps_settings_are_the_fields_of_run_config() -> None:
    assert settings.PATH.read_text().endswith(settings.section()), "run `python flower_app/settings.py`"
    stored = tomllib.loads(settings.PATH.read_text())["tool"]["flwr"]["app"]["config"]
    assert RunConfig(**{name: stored[name] for name in RunConfig.model_fields}) == RunConfig()
