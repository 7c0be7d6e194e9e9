"""Which node holds which client's data: asked once, before the first round. A node that does not fit is refused, and
the run goes on without it, as long as enough clients have one."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from logging import WARN

import numpy as np
import numpy.typing as npt
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.common.logger import log

from deltamask.codecs import DecodeError
from deltamask.config import RunConfig
from deltamask_flower import answers, wire
from deltamask_flower.grid import PromptGrid
from deltamask_flower.wire import Identity

Counts = npt.NDArray[np.int64]  # (clients, classes) samples

REGISTERED = re.compile(r"client-(\d+)")  # the name with which the key of a client's node is registered
SHOWN = 20  # clients or refusals that a message lists
PASSING = (  # faults after which a node is asked again
    ErrorCode.CLIENT_APP_CRASHED, ErrorCode.NODE_UNAVAILABLE, ErrorCode.MESSAGE_UNAVAILABLE,
    ErrorCode.REPLY_MESSAGE_UNAVAILABLE,
)  # fmt: skip


class RosterError(RuntimeError):
    """Too few clients have a node; the message says how many, and why the others have none."""


@dataclass
class Roster:
    """nodes: by client. have: the last round whose broadcast each has read. label_counts: (clients, classes); a row of
    zeros for a client that was not let in. absent: the clients without a node, and why. refused: the nodes that were
    not let in, and why."""

    nodes: dict[int, int]
    have: dict[int, int]
    label_counts: Counts
    absent: dict[int, str] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)

    def notes(self, most_samples: int) -> tuple[str, ...]:
        """What whoever runs this should read. most_samples: that all clients can hold together."""
        lines = [f"without client {client}: {why}" for client, why in self.absent.items()]
        lines += [f"node {node} was refused: {why}" for node, why in self.refused.items()]
        if (claimed := int(self.label_counts.sum())) > most_samples:
            lines.append(
                f"the clients say they hold {claimed} samples together, the whole run has {most_samples}: one of them "
                "lies, and which one nobody can say"
            )
        return tuple(lines[: 2 * SHOWN])


def call(
    grid: PromptGrid, config: RunConfig, identity: Identity, run: str, classes: int, seconds: float,
    progress: Callable[[str, int, int], None], *, registered: bool, least: int, before: Counts | None,
) -> Roster:  # fmt: skip
    """Greet nodes as they connect, until each client has one or has lost it by what its node said, for `seconds` at
    most. Raises RosterError if fewer than `least` clients have one.

    identity: what nodes must agree with. registered: client K's node is the one whose key was registered under the name
    `client-K`; else the first that says it is client K. before: what clients held when the run began, if it goes on:
    nobody may say anything else now.
    """
    greeting = _Greeting(grid, config, identity, run, registered, before, _empty(config, classes, before))
    end = time.monotonic() + seconds
    while True:
        progress("waiting for nodes", len(greeting.roster.nodes), config.clients)
        greeting.ask()
        greeting.hear()
        if greeting.is_settled() or time.monotonic() > end:
            break
        grid.rest(len(greeting.waiting))
    roster = greeting.roster
    for client in sorted(set(range(config.clients)) - set(roster.nodes) - set(roster.absent)):
        roster.absent[client] = greeting.why_absent(client, seconds)
    if len(roster.nodes) < least:
        raise RosterError(_too_few(greeting, least))
    for line in roster.notes(config.train_samples):
        log(WARN, "The run goes on: %s", line)
    return roster


def _empty(config: RunConfig, classes: int, before: Counts | None) -> Roster:
    if before is None:
        return Roster({}, {}, np.zeros((config.clients, classes), np.int64))
    why = "it was not let in when the run began"
    return Roster({}, {}, before.copy(), {int(client): why for client in np.flatnonzero(~before.any(axis=1))})


@dataclass
class _Greeting:
    """names: of each node that was seen, its key's. waiting: the node of each message that is not answered yet."""

    grid: PromptGrid
    config: RunConfig
    identity: Identity
    run: str
    registered: bool
    before: Counts | None
    roster: Roster
    names: dict[int, str] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)
    asked: set[int] = field(default_factory=set)

    def ask(self) -> None:
        """Greet whoever is connected and was not asked yet."""
        connected = self.grid.node_names()
        self.names |= connected
        hellos = [self._hello(node) for node in sorted(set(connected) - self.asked)]
        sent = set(self.grid.push_messages(hellos)) if hellos else set()
        for hello in hellos:
            if hello.metadata.message_id in sent:
                self.waiting[hello.metadata.message_id] = hello.metadata.dst_node_id
                self.asked.add(hello.metadata.dst_node_id)

    def _hello(self, node: int) -> Message:
        content = RecordDict({wire.IDENTITY: self.identity.record(), wire.SETTINGS: ConfigRecord({"run": self.run})})
        return Message(content, dst_node_id=node, message_type="query.hello")

    def hear(self) -> None:
        """Let in, or refuse, those who have answered. Nothing that one of them says keeps the others out."""
        for message_id, reply in self.grid.poll(list(self.waiting)):
            node = self.waiting.pop(message_id)
            if reply is not None and reply.has_error() and reply.error.code in PASSING:
                self.asked.discard(node)
                continue
            try:
                self._enter(node, reply)
            except DecodeError as error:
                self._refuse(node, answers.cut(error))
            except Exception as error:  # of a record that Flower built from a stranger's bytes: anything
                self._refuse(node, answers.cut(f"its answer cannot be read: {type(error).__name__}: {error}"))

    def _refuse(self, node: int, why: str) -> None:
        self.roster.refused[node] = why
        log(WARN, "Node %d (%s) is refused: %s", node, answers.cut(self.names.get(node, "")), why)

    def _enter(self, node: int, reply: Message | None) -> None:
        """Put a node down for its client. Raises DecodeError with the reason if it does not fit."""
        roster = self.roster
        if reply is None:
            raise DecodeError("its answer cannot be put together")
        if reply.has_error():
            raise DecodeError(reply.error.reason)
        if reply.metadata.src_node_id != node:
            raise DecodeError(f"node {reply.metadata.src_node_id} answered for it")
        if why := self.identity.refuses(Identity.read(reply.content)):
            raise DecodeError(why)
        classes = roster.label_counts.shape[1]
        holding = answers.read_holding(reply, self.config.clients, classes, self.config.train_samples)
        client = holding.client
        if self.registered:
            _check_name(client, self.names[node])
        if client in roster.nodes:
            raise DecodeError(f"it says it is client {client}, as node {roster.nodes[client]} is")
        if client in roster.absent:
            raise DecodeError(f"client {client} was not let in when the run began")
        if self.before is not None and holding.label_counts != self.before[client].tolist():
            raise DecodeError(
                f"client {client} says it holds {sum(holding.label_counts)} samples, {holding.label_counts} of each "
                f"class, and when the run began it said {self.before[client].tolist()}"
            )
        roster.label_counts[client] = holding.label_counts
        roster.nodes[client], roster.have[client] = node, holding.have

    def is_settled(self) -> bool:
        """Would waiting change nothing? Where keys have names, a stranger more or less says nothing of the clients."""
        roster = self.roster
        if len(roster.nodes) + len(roster.absent) >= self.config.clients:
            return True
        if not self.registered:
            return not self.waiting and len(roster.nodes) + len(roster.refused) >= self.config.clients
        refused = {self.names[node] for node in roster.refused} - {self.names[node] for node in self.waiting.values()}
        left = set(range(self.config.clients)) - set(roster.nodes) - set(roster.absent)
        return all(f"client-{client}" in refused for client in left)

    def why_absent(self, client: int, seconds: float) -> str:
        """Why a client has no node."""
        own = [node for node, name in self.names.items() if self.registered and name == f"client-{client}"]
        for node in own:
            if node in self.roster.refused:
                return f"its node was refused: {self.roster.refused[node]}"
        what = "its node never answered" if own else "no node of it was let in"
        return f"{what}, within {seconds:g} s"


def _check_name(client: int, name: str) -> None:
    """DecodeError if a key of this name is not client's."""
    match = REGISTERED.fullmatch(name)
    if match is None:
        raise DecodeError(
            f"its key was registered {f'as {name!r}' if name else 'without a name'}: register it with "
            f"`--name client-{client}`, or run with registered=false to take whoever comes first"
        )
    if int(match[1]) != client:
        raise DecodeError(f"it says it is client {client}, and its key was registered as {name!r}")


def _too_few(greeting: _Greeting, least: int) -> str:
    roster = greeting.roster
    missing = sorted(roster.absent)
    reasons = [f"node {node} was refused: {why}" for node, why in roster.refused.items()]
    silent = len(greeting.names) - len(roster.refused) - len(roster.nodes)
    return (
        f"{len(roster.nodes)} of {greeting.config.clients} clients have a node, and the run needs {least}: "
        f"no node for client {', '.join(map(str, missing[:SHOWN]))}{' …' if len(missing) > SHOWN else ''}; "
        f"{len(greeting.names)} nodes connected"
        + (f", {silent} of them never answered" if silent else "")
        + "".join(f"; {reason}" for reason in reasons[:SHOWN])
    )
