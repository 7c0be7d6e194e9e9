"""What must hold for a method: its bytes, its state, its settings, and what hostile payloads do to it.

The laws train for real, on scikit-learn's digits and a network of two linear layers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from deltamask.codecs.conformance import Broken
from deltamask.config import RunConfig
from deltamask.masking.masks import THETA_MAX, THETA_MIN
from deltamask.methods import methods
from deltamask.methods.base import METHOD_FIELDS, Method, Receipt, State, Upload, state_arrays
from deltamask.simulation.loop import Checkpoint, Observer, simulate
from deltamask.simulation.records import RoundRecord
from deltamask.task.custom import make_task
from deltamask.task.task import Task

CLIENTS, ROUND = 4, 1


@functools.cache
def small_task() -> Task:
    """Digits, 400 to train on and 200 to test on, four clients."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x, y = torch.tensor(digits.data / 16, dtype=torch.float32), torch.tensor(digits.target)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(20)
        network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
    return make_task(model=network, split_at=2, train=(x[:400], y[:400]), test=(x[400:600], y[400:600]), shards=CLIENTS)


def small_config(name: str, **changes: Any) -> RunConfig:
    """Two rounds of a method on the small task."""
    small = {"clients": CLIENTS, "rounds": 2, "batch_size": 32, "probe_lr": 0.03, "lr": 0.3}
    return RunConfig(**{"method": name, **small, **changes})


def name_of(method: Method) -> str:
    """The name it is registered under."""
    return next(name for name in methods if methods[name] is method)


@dataclass
class Seen(Observer):
    """Keeps what an observer is shown: payloads by (round, client), broadcasts, records and checkpoints."""

    payloads: dict[tuple[int, int], bytes] = field(default_factory=dict)
    broadcasts: dict[int, bytes] = field(default_factory=dict)
    records: list[RoundRecord] = field(default_factory=list)
    checkpoints: list[Checkpoint] = field(default_factory=list)

    def broadcast(self, round: int, message: bytes) -> None:
        self.broadcasts[round] = message

    def payload(self, round: int, client: int, order: int, suffix: str, payload: bytes) -> None:
        self.payloads[round, client] = payload

    def finished(self, record: RoundRecord, checkpoint: Checkpoint) -> None:
        self.records.append(record)
        self.checkpoints.append(checkpoint)


@functools.lru_cache(maxsize=8)
def two_rounds(name: str) -> Seen:
    """A method's run as small_config has it, played once for all laws that look at it."""
    return played(small_config(name))


def played(config: RunConfig, start: Checkpoint | None = None) -> Seen:
    """A run on the small task, and all that was seen of it."""
    seen = Seen()
    for _ in simulate(config, task=small_task(), start=start, observer=seen):
        pass
    return seen


class Server:
    """A method with a state, an honest payload of each client for round 1, and one of another round."""

    def __init__(self, name: str, task: Task, config: RunConfig) -> None:
        self.config, self.method = config, methods.get(name)
        head = np.random.default_rng(3).normal(0, 0.1, task.head_size).astype(np.float32)
        self.state = self.method.init(task, config, head)
        self.honest = [(client, self.upload(task, ROUND, client)) for client in range(config.clients)]
        self.other_round = self.upload(task, ROUND + 1, 1)

    def upload(self, task: Task, round: int, client: int) -> bytes:
        """What a client that has every broadcast sends in a round in which the state is still the first one."""
        memory = None
        for past in range(1, round + 1):
            message = self.method.broadcast(self.config, self.state, past)
            memory = self.method.receive(task, self.config, past, message, memory)
        upload: Upload = self.method.client_update(task, self.config, round, client, memory)
        return upload.payload

    def update(self, payloads: list[tuple[int, bytes]]) -> tuple[State, list[Receipt]]:
        """The state after these payloads, and what the server made of each."""
        receipts: list[Receipt] = []
        state = self.method.server_update(self.config, self.state, ROUND, iter(payloads), receipts.append)
        return state, receipts


def hostile(server: Server) -> Iterator[tuple[str, bytes]]:
    """Payloads of client 1 that a server has to refuse, and what is wrong with each."""
    honest = server.honest[1][1]
    yield "empty", b""
    yield "a byte", b"\0"
    yield "random bytes", np.random.default_rng(1).bytes(len(honest))
    yield "zeros", bytes(len(honest))
    yield "its first half", honest[: len(honest) // 2]
    yield "all but its last byte", honest[:-1]
    yield "a byte behind it", honest + b"\0"
    yield "twice", honest * 2
    for at in (3, len(honest) // 2, len(honest) - 1):
        yield f"bit flipped in byte {at}", honest[:at] + bytes([honest[at] ^ 0x10]) + honest[at + 1 :]
    yield "another round's", server.other_round
    yield "another client's", server.honest[2][1]
    yield "the broadcast", server.method.broadcast(server.config, server.state, ROUND)


def same_state(left: State, right: State) -> bool:
    """Do two states hold the same arrays, bit for bit?"""
    ours, theirs = state_arrays(left), state_arrays(right)
    return ours.keys() == theirs.keys() and all(
        np.array_equal(np.asarray(value), np.asarray(theirs[name])) for name, value in ours.items()
    )


def it_says_what_it_is(method: Method) -> None:
    """A label, a line about it, a colour that Plotly reads, and settings that exist."""
    if not method.label.strip() or not method.about.strip():
        raise Broken("label and about are texts for people, one of them is empty")
    if method.color is not None and not (len(method.color) == 7 and method.color.startswith("#")):
        raise Broken(f"color = {method.color!r}: #rrggbb is expected")
    if unknown := set(method.reads) - METHOD_FIELDS:
        raise Broken(f"reads names {', '.join(sorted(unknown))}: no fields that only some methods read")


def the_ledger_counts_its_payloads(method: Method) -> None:
    """Two rounds: what a record says was sent is what was sent, byte for byte."""
    seen = two_rounds(name_of(method))
    for record in seen.records:
        sizes = {client: len(payload) for (round, client), payload in seen.payloads.items() if round == record.round}
        if record.uplink_bytes != sum(sizes.values()) or not record.uplink_bytes:
            raise Broken(f"round {record.round}: {record.uplink_bytes} bytes recorded, {sum(sizes.values())} sent")
        if not 0 <= record.accuracy <= 1 or record.loss is None or not np.isfinite(record.loss):
            raise Broken(f"round {record.round}: accuracy {record.accuracy}, loss {record.loss}")
        if record.round and (dropped := [client.dropped for client in record.clients if client.dropped]):
            raise Broken(f"round {record.round}: an honest payload was dropped: {dropped[0]}")


def it_goes_on_from_a_checkpoint(method: Method) -> None:
    """The state is NumPy arrays and nothing else; rebuilt from them, round 2 is the same round."""
    config = small_config(name_of(method))
    whole = two_rounds(name_of(method))
    first = whole.checkpoints[1]
    arrays = state_arrays(first.state)
    if strange := [name for name, value in arrays.items() if not isinstance(value, np.ndarray)]:
        raise Broken(f"the state's {', '.join(strange)} is no NumPy array: a checkpoint cannot hold it")
    resumed = played(config, Checkpoint(1, method.state(**arrays), first.broadcasts))
    if not same_state(resumed.checkpoints[-1].state, whole.checkpoints[-1].state):
        raise Broken("after a resume, round 2 ends in another state")
    if resumed.payloads[2, 0] != whole.payloads[2, 0]:
        raise Broken("after a resume, client 0 sends other bytes in round 2")


def it_reads_the_settings_it_names(method: Method) -> None:
    """Fields that only some methods read: those in `reads`, and no others, whatever `aggregation` says."""
    seen: set[str] = set()

    class Watched(RunConfig):
        def __getattribute__(self, name: str) -> Any:
            if name in METHOD_FIELDS:
                seen.add(name)
            return super().__getattribute__(name)

    name, unread = name_of(method), set(METHOD_FIELDS)
    for aggregation in ("beta", "unbiased"):
        config = Watched(**small_config(name, aggregation=aggregation).model_dump())
        seen.clear()
        played(config)
        if extra := seen - set(method.reads):
            raise Broken(f"it reads {', '.join(sorted(extra))}, which `reads` does not name")
        unread &= set(method.reads) - seen
    if unread:
        raise Broken(f"`reads` names {', '.join(sorted(unread))}, which no round has read")


def a_hostile_payload_costs_its_client_the_round(method: Method) -> None:
    """Whatever bytes client 1 sends: they are dropped with a reason, and the others count as without it."""
    server = server_of(method)
    without, _ = server.update([entry for entry in server.honest if entry[0] != 1])
    for what, payload in hostile(server):
        state, receipts = server.update([(client, payload if client == 1 else p) for client, p in server.honest])
        if [bool(receipt.dropped) for receipt in receipts] != [client == 1 for client, _ in server.honest]:
            raise Broken(f"{what}: dropped {[receipt.client for receipt in receipts if receipt.dropped]}, not client 1")
        if not same_state(state, without):
            raise Broken(f"{what}: it was dropped, and yet the state is not that of the other clients alone")
    state, receipts = server.update([server.honest[0], *server.honest])
    once, _ = server.update(server.honest)
    if [bool(receipt.dropped) for receipt in receipts] != [False, True, *[False] * (len(server.honest) - 1)]:
        raise Broken("a client's second payload in a round was not refused")
    counts = not same_state(once, without) or method.sends == "nothing"
    if not same_state(state, once) or not counts:
        raise Broken("a client's second payload counted, or its first one did not")


def without_payloads_nothing_changes(method: Method) -> None:
    """A round in which all payloads are lost leaves the state as it was, in range."""
    server = server_of(method)
    before = {name: array.copy() for name, array in state_arrays(server.state).items()}
    state, receipts = server.update([(client, b"lost") for client in range(CLIENTS)])
    if len(receipts) != CLIENTS or not all(receipt.dropped for receipt in receipts):
        raise Broken("not every lost payload has a receipt that says so")
    if not same_state(state, type(state)(**before)):
        raise Broken("no payload could be used, and yet the state changed")
    theta = getattr(state, "theta", None)
    if theta is not None and not (theta.min() >= THETA_MIN and theta.max() <= THETA_MAX):
        raise Broken(f"theta leaves [{THETA_MIN}, {THETA_MAX}]")


def who_missed_rounds_is_brought_up_to_date(method: Method) -> None:
    """A snapshot leaves a client with what all broadcasts in order leave it with."""
    if method.snapshot is None:
        return
    if method.memory is None:
        raise Broken("it has snapshots, and does not say in `memory` what a client keeps")
    config, task = small_config(name_of(method)), small_task()
    seen = two_rounds(name_of(method))
    memory = None
    for round in (1, 2):
        memory = method.receive(task, config, round, seen.broadcasts[round], memory)
    late = method.receive(task, config, 2, method.snapshot(config, seen.checkpoints[1].state, 2), None)
    if not same_state(memory, late):
        raise Broken("a snapshot and the broadcasts before it leave a client with different things")
    if not isinstance(memory, method.memory):
        raise Broken(f"a client keeps a {type(memory).__name__}, not a {method.memory.__name__} as `memory` says")


def a_client_that_trains_alone_is_its_own_affair(method: Method) -> None:
    """It learns from its own samples, the same each time, and the state that it began with stays as it was."""
    if method.alone is None:
        return
    config, task = small_config(name_of(method)), small_task()
    head = np.random.default_rng(3).normal(0, 0.1, task.head_size).astype(np.float32)
    start, untouched = (method.init(task, config, head) for _ in range(2))
    ours, again, theirs = (method.alone(task, config, start, ROUND, client) for client in (1, 1, 2))
    if not same_state(start, untouched):
        raise Broken("training alone changed the state that it began with")
    if not same_state(ours, again):
        raise Broken("the same client, alone in the same round, ends in two different states")
    if same_state(ours, theirs) and method.sends != "nothing":
        raise Broken("two clients with different samples end in the same state")
    next(method.effective(task, config, ours, ROUND))


@functools.lru_cache(maxsize=4)
def server_of(method: Method) -> Server:
    """A server on the small task; no law changes it."""
    name = name_of(method)
    return Server(name, small_task(), small_config(name))


LAWS: dict[str, Callable[[Method], None]] = {
    law.__name__.replace("_", " "): law
    for law in (
        it_says_what_it_is,
        the_ledger_counts_its_payloads,
        it_goes_on_from_a_checkpoint,
        it_reads_the_settings_it_names,
        a_hostile_payload_costs_its_client_the_round,
        without_payloads_nothing_changes,
        who_missed_rounds_is_brought_up_to_date,
        a_client_that_trains_alone_is_its_own_affair,
    )
}
