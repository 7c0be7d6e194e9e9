"""Which node holds which client's data: asked once, before the first round, and refused where it does not fit."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.constant import ErrorCode

from deltamask.codecs import DecodeError
from deltamask.config import RunConfig
from deltamask_flower import answers, wire
from deltamask_flower.grid import PromptGrid
from deltamask_flower.wire import Identity

ASK_EVERY = 0.5  # seconds between two looks at who has connected
REGISTERED = re.compile(r"client-(\d+)")  # the name with which the key of a client's node is registered
SHOWN = 20  # clients or refusals that a message lists
PASSING = (  # faults after which a node is asked again
    ErrorCode.CLIENT_APP_CRASHED, ErrorCode.NODE_UNAVAILABLE, ErrorCode.MESSAGE_UNAVAILABLE,
    ErrorCode.REPLY_MESSAGE_UNAVAILABLE,
)  # fmt: skip


class RosterError(RuntimeError):
    """Not every client has a node; the message says why for each."""


@dataclass
class Roster:
    """nodes: by client. have: the last round whose broadcast each has read. label_counts: (clients, classes)."""

    nodes: dict[int, int]
    have: dict[int, int]
    label_counts: npt.NDArray[np.int64]


def call(
    grid: PromptGrid, config: RunConfig, identity: Identity, run: str, classes: int, seconds: float,
    progress: Callable[[str, int, int], None], *, registered: bool,
) -> Roster:  # fmt: skip
    """Greet nodes as they connect, until every client has one. Raises RosterError after `seconds`.

    identity: what nodes must agree with. registered: client K's node is the one whose key was registered under the name
    `client-K`; else the first that says it is client K.
    """
    roster = Roster({}, {}, np.zeros((config.clients, classes), np.int64))
    refused: dict[int, str] = {}
    asked: set[int] = set()
    end = time.monotonic() + seconds
    while len(roster.nodes) < config.clients and time.monotonic() < end:
        progress("waiting for nodes", len(roster.nodes), config.clients)
        names = grid.node_names()
        fresh = sorted(set(names) - asked)
        asked |= set(fresh)
        hellos = [_hello(node, identity, run) for node in fresh]
        replies = grid.send_and_receive(hellos, timeout=end - time.monotonic())
        node_of = {hello.metadata.message_id: hello.metadata.dst_node_id for hello in hellos}
        for reply in replies:
            node = node_of.get(reply.metadata.reply_to_message_id)  # an error's sender is the SuperLink
            if node is None:
                continue
            if reply.has_error() and reply.error.code in PASSING:
                asked.discard(node)
                continue
            try:
                _enter(roster, config, identity, node, names.get(node, "") if registered else None, reply)
            except DecodeError as error:
                refused[node] = answers.cut(error)
            except Exception as error:  # of a record that Flower built from a stranger's bytes: anything
                refused[node] = answers.cut(f"its answer cannot be read: {type(error).__name__}: {error}")
        if not fresh:
            if len(asked) >= config.clients and len(refused) + len(roster.nodes) == len(asked):
                break  # everybody is here, and some do not fit: waiting will not mend it
            time.sleep(ASK_EVERY)
    if missing := sorted(set(range(config.clients)) - set(roster.nodes)):
        silent = len(asked) - len(refused) - len(roster.nodes)
        reasons = [f"node {node} was refused: {why}" for node, why in refused.items()]
        raise RosterError(
            f"no node for client {', '.join(map(str, missing[:SHOWN]))}{' …' if len(missing) > SHOWN else ''}; "
            f"{len(asked)} nodes connected"
            + (f", {silent} of them never answered" if silent else "")
            + "".join(f"; {reason}" for reason in reasons[:SHOWN])
        )
    return roster


def _hello(node: int, identity: Identity, run: str) -> Message:
    content = RecordDict({wire.IDENTITY: identity.record(), wire.SETTINGS: ConfigRecord({"run": run})})
    return Message(content, dst_node_id=node, message_type="query.hello")


def _enter(roster: Roster, config: RunConfig, identity: Identity, node: int, name: str | None, reply: Message) -> None:
    """Put a node down for its client. name: under which its key was registered; None: nobody asks.

    Raises DecodeError with the reason if it does not fit.
    """
    if reply.has_error():
        raise DecodeError(reply.error.reason)
    if why := identity.refuses(Identity.read(reply.content)):
        raise DecodeError(why)
    holding = answers.read_holding(reply, config.clients, roster.label_counts.shape[1], config.train_samples)
    client = holding.client
    if name is not None:
        match = REGISTERED.fullmatch(name)
        if match is None:
            raise DecodeError(
                f"its key was registered {f'as {name!r}' if name else 'without a name'}: register it with "
                f"`--name client-{client}`, or run with registered=false to take whoever comes first"
            )
        if int(match[1]) != client:
            raise DecodeError(f"it says it is client {client}, and its key was registered as {name!r}")
    if client in roster.nodes:
        raise DecodeError(f"it says it is client {client}, as node {roster.nodes[client]} is")
    roster.label_counts[client] = holding.label_counts
    roster.nodes[client], roster.have[client] = node, holding.have
