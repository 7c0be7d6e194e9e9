"""No state becomes the run's that could not be sent and read again, whatever finite floats the clients send."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltamask import methods
from deltamask.codecs.updates import LARGEST, DecodeError, UpdateContext, updates
from deltamask.codecs.wire import dense, png
from deltamask.codecs.wire.message import HEADER, KINDS, seal
from deltamask.config import RunConfig
from deltamask.heads import closed_form, heads
from deltamask.methods import head_round
from deltamask.methods.base import State
from deltamask.methods.base import methods as registered
from deltamask.simulation import commit
from deltamask.simulation.delivery import is_complete
from deltamask.simulation.loop import Answer, Checkpoint, Observer, OpenRound, client_round, serve, simulate
from deltamask.simulation.records import RoundRecord
from deltamask.task.task import Task, load_task
from tests.support import tiny

MOST = float(np.finfo(np.float32).max)
ABOVE = float(np.nextafter(np.float32(LARGEST), np.float32(np.inf)))
BOUNDS = [0.0, 1e-45, 1.0, LARGEST, ABOVE, 2.0**120, MOST]
VALUES = [sign * value for value in BOUNDS for sign in (1, -1)]
PICTURE = png.SIGNATURE


@pytest.fixture(scope="module")
def task(tiny_cache: Path) -> Task:
    return load_task(tiny.config())


def with_values(payload: bytes, values: list[float], config: RunConfig, client: int, round: int) -> bytes:
    """A dense payload that holds these values in turn, with every checksum right; others as they are."""
    message = png.read(payload, 1 << 30)[0] if payload.startswith(PICTURE) else payload
    kind = next(name for name, kind in KINDS.items() if kind.number == message[3])
    n = HEADER.unpack_from(message)[5]
    vector = np.resize(np.array(values, np.float32), n)
    if kind == "dense32":
        return png.write(seal(kind, round, client, n, vector.astype("<f4").tobytes()))
    if kind not in updates:
        return payload
    with np.errstate(over="ignore", invalid="ignore"):
        body = updates[kind].body(vector, UpdateContext(config.seed, round, client))  # type: ignore[attr-defined]
    return seal(kind, round, client, n, body)


def played(config: RunConfig, task: Task, lies: dict[int, list[float]]) -> tuple[list[RoundRecord], list[Checkpoint]]:
    """A run of which some clients send floats of their own choice in every round."""
    checkpoints: list[Checkpoint] = []

    class Keeps(Observer):
        def finished(self, record: RoundRecord, checkpoint: Checkpoint) -> None:
            checkpoints.append(checkpoint)

    def answers(opened: OpenRound) -> Iterator[Answer]:
        for client in opened.sampled:
            delivered = opened.delivery.deliver(client, opened.round)
            upload = client_round(opened.method, task, config, opened.round, client, opened.delivery.memory)
            if client in lies and not isinstance(upload, str):
                payload = with_values(upload.payload, lies[client], config, client, opened.round)
                upload = replace(upload, payload=payload)
            yield Answer(client, delivered, upload)

    records: list[RoundRecord] = []
    server = serve(config, task, None, Keeps())
    event: Any = next(server, None)
    while event is not None:
        if isinstance(event, RoundRecord):
            records.append(event)
            event = next(server, None)
        else:
            event = server.send(answers(event))
    return records, checkpoints


def is_received(config: RunConfig, task: Task, state: State, round: int) -> bool:
    """Does a client without anything read the message that holds all of this state?"""
    method = registered[config.method]
    whole = method.broadcast if is_complete(method, config) else method.snapshot
    assert whole is not None
    method.receive(task, config, round, whole(config, state, round), None)
    return True


@pytest.mark.parametrize("name", methods.names())
@given(values=st.lists(st.sampled_from(VALUES), min_size=1, max_size=3), liars=st.integers(1, 4))
@settings(max_examples=4, deadline=None)
def test_finite_floats_at_every_bound_leave_a_state_that_is_sent_and_read(
    name: str, task: Task, values: list[float], liars: int
) -> None:
    """In round 0 as the head, afterwards as whatever the method sends."""
    config = tiny.config(method=name, rounds=2, probe_epochs=1, train_samples=400)
    records, checkpoints = played(config, task, dict.fromkeys(range(liars), values))
    assert [record.round for record in records] == [0, 1, 2]
    for checkpoint in checkpoints:
        assert is_received(config, task, checkpoint.state, checkpoint.round + 2)


@pytest.mark.parametrize("name", ["deltamask", "finetune", "qsgd", "linear-probe"])
@pytest.mark.parametrize("value", [1.0, LARGEST, ABOVE, -MOST])
def test_what_encode_would_refuse_decode_refuses(name: str, value: float, task: Task) -> None:
    """The bound is one and the same: what a client sends beyond it costs that client the round, and nobody else."""
    config = tiny.config(method=name, rounds=1, probe_epochs=1)
    records, _ = played(config, task, {1: [value]})
    for record in records:
        dropped = {line.client: line.dropped for line in record.clients if line.dropped}
        floats = record.round == 0 or registered[name].sends in ("values", "head")
        assert dropped.keys() == ({1} if floats and abs(value) > LARGEST else set()), dropped
        assert record.skipped is None or abs(value) >= LARGEST


@pytest.mark.parametrize("name", [name for name in heads if closed_form(name)])
def test_statistics_at_their_bounds_leave_a_head_that_is_sent_and_read(name: str, task: Task) -> None:
    formula = closed_form(name)
    assert formula is not None
    config = tiny.config(head_init=name, rounds=1)
    method = head_round.method_of(config, 0)
    state = method.init(task, config, np.zeros(task.head_size, np.float32))
    agreed = head_round.agreed(config, len(task.classes), task.num_features)
    memory = method.receive(task, config, 0, method.broadcast(config, state, 0), None)
    honest = method.client_update(task, config, 0, 0, memory).payload
    sender = head_round.Sender(0, task.label_counts[0])
    statistics = formula.decode(honest, sender, agreed)
    for factor in (-(2**15 - 1), 2**15 - 1):
        sums = np.full_like(statistics.sums, factor) * statistics.counts[:, None]
        gram = None if statistics.gram is None else np.full_like(statistics.gram, factor**2 * statistics.counts.sum())
        lie = formula.encode(replace(statistics, sums=sums, gram=gram), sender, agreed)
        after = method.server_update(config, state, 0, [(0, lie)], lambda receipt: None)
        assert commit.refusal(method, task, config, state, after, 0) is None


def test_a_state_that_cannot_be_sent_is_refused_and_the_record_says_so(task: Task) -> None:
    """Four clients move the weights to the bound, again and again; the one before stands, and the run goes on."""
    config = tiny.config(method="finetune", rounds=3, server_lr=3.0, probe_epochs=1)
    records, checkpoints = played(config, task, {client: [LARGEST] for client in range(4)})
    assert all(record.skipped and "cannot be sent" in record.skipped for record in records[1:])
    np.testing.assert_array_equal(checkpoints[3].state.values, checkpoints[0].state.values)
    assert all(line.dropped is None for record in records for line in record.clients)


@pytest.mark.parametrize("name", [name for name in methods.names() if registered[name].snapshot])
def test_a_refused_round_is_not_told_and_the_one_before_it_not_twice(
    name: str, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server makes a state of round 2 that no message holds: each client holds what the server does all along."""
    method = registered[name]

    def wrong_in_round_2(config: RunConfig, state: Any, round: int, payloads: Any, on_receipt: Any) -> Any:
        after = method.server_update(config, state, round, payloads, on_receipt)
        return replace(after, head=np.full_like(after.head, np.inf)) if round == 2 and payloads != () else after

    monkeypatch.setitem(registered._entries, name, replace(method, server_update=wrong_in_round_2))
    config = tiny.config(method=name, rounds=4, probe_epochs=1, lr=0.3, aggregation="unbiased", noise="per_client")
    broadcasts: dict[int, bytes] = {}
    held: dict[int, State] = {}

    class Keeps(Observer):
        def broadcast(self, round: int, message: bytes) -> None:
            broadcasts[round] = message

        def finished(self, record: RoundRecord, checkpoint: Checkpoint) -> None:
            assert (record.round == 2) == bool(record.skipped), record.skipped
            held[checkpoint.round] = checkpoint.state

    for _ in simulate(config, task=task, observer=Keeps()):
        pass
    memory, assertions = None, 0
    for round in range(1, 5):
        memory = method.receive(task, config, round, broadcasts[round], memory)
        for field in ("theta", "weights", "r", "values"):
            if hasattr(memory, field):
                np.testing.assert_array_equal(getattr(memory, field), getattr(held[round - 1], field))
                assertions += 1
    assert assertions >= 4


@pytest.mark.parametrize("value", [np.nan, np.inf, 2 * LARGEST])
def test_what_no_message_holds_is_named_on_both_sides(value: float) -> None:
    values = np.array([1, value], np.float32)
    with pytest.raises(ValueError, match="vector holds"):
        dense.encode_dense32(values, 0, 3)
    forged = png.write(seal("dense32", 0, 3, 2, values.astype("<f4").tobytes()))
    with pytest.raises(DecodeError, match="message holds"):
        dense.decode_dense32(forged, 2, 0, 3)
