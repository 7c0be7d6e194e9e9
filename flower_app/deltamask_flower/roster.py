"""Which node holds which client's data: asked once, before the first round, and refused where it does not fit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from deltamask.codecs import DecodeError
from deltamask.config import RunConfig
from deltamask_flower import wire
from deltamask_flower.wire import Identity

ASK_EVERY = 0.5  # seconds between two looks at who has connected
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
    grid: Grid, config: RunConfig, ours: Identity, run: str, classes: int, seconds: float,
    progress: Callable[[str, int, int], None],
) -> Roster:  # fmt: skip
    """Greet nodes as they connect, until every client has one. Raises RosterError after `seconds`."""
    roster = Roster({}, {}, np.zeros((config.clients, classes), np.int64))
    refused: dict[int, str] = {}
    asked: set[int] = set()
    end = time.monotonic() + seconds
    while len(roster.nodes) < config.clients and time.monotonic() < end:
        progress("waiting for nodes", len(roster.nodes), config.clients)
        fresh = sorted(set(grid.get_node_ids()) - asked)
        asked |= set(fresh)
        for reply in grid.send_and_receive([_hello(node, ours, run) for node in fresh], timeout=end - time.monotonic()):
            node = reply.metadata.src_node_id
            if reply.has_error() and reply.error.code in PASSING:
                asked.discard(node)
                continue
            try:
                _enter(roster, config, ours, node, reply)
            except DecodeError as error:
                refused[node] = str(error)
        if not fresh:
            if len(asked) >= config.clients and len(refused) + len(roster.nodes) == len(asked):
                break  # everybody is here, and some do not fit: waiting will not mend it
            time.sleep(ASK_EVERY)
    if missing := sorted(set(range(config.clients)) - set(roster.nodes)):
        reasons = [f"node {node} was refused: {why}" for node, why in refused.items()]
        silent = len(asked) - len(refused) - len(roster.nodes)
        raise RosterError(
            f"no node for client {', '.join(map(str, missing))}; {len(asked)} nodes connected"
            + (f", {silent} of them never answered" if silent else "")
            + "".join(f"; {reason}" for reason in reasons)
        )
    return roster


def _hello(node: int, ours: Identity, run: str) -> Message:
    content = RecordDict({wire.IDENTITY: ours.record(), wire.SETTINGS: ConfigRecord({"run": run})})
    return Message(content, dst_node_id=node, message_type="query.hello")


def _enter(roster: Roster, config: RunConfig, ours: Identity, node: int, reply: Message) -> None:
    """Put a node down for its client. Raises DecodeError with the reason if it does not fit."""
    if reply.has_error():
        raise DecodeError(reply.error.reason)
    if why := ours.refuses(Identity.read(reply.content)):
        raise DecodeError(why)
    shard = reply.content.config_records.get(wire.SHARD, ConfigRecord())
    client, have, counts = _whole(shard.get("client")), _whole(shard.get("have")), shard.get("label_counts")
    classes = roster.label_counts.shape[1]
    if client >= config.clients or not isinstance(counts, list) or len(counts) != classes:
        raise DecodeError(f"it says it is client {client} of {config.clients}, with label counts {counts!r}")
    if client in roster.nodes:
        raise DecodeError(f"it says it is client {client}, as node {roster.nodes[client]} is")
    roster.label_counts[client] = [_whole(count) for count in counts]
    roster.nodes[client], roster.have[client] = node, have


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**31:
        raise DecodeError(f"{value!r} where a count was expected")
    return value
