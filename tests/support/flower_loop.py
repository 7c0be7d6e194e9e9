"""The whole Flower app, server and nodes, over a Grid that is a loop in this process: no network, no waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from deltamask_flower import client_app, server_app, shard
from flwr.app import Context, Error, Message, RecordDict
from flwr.app.message import make_message
from flwr.common.constant import ErrorCode
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from deltamask.config import RunConfig
from deltamask.runs.reader import Run, load_run

Meddle = Callable[[int, int, Message], Message | None]  # (round, node, reply) → what the server gets of it


class Crash(Exception):
    """A node's process ends without a word."""


class LoopGrid(Grid):
    """Nodes by id, each with its Context; a message is answered when it is sent. names: of their registered keys."""

    def __init__(
        self, nodes: dict[int, Context], meddle: Meddle = lambda round, node, reply: reply,
        names: dict[int, str] | None = None,
    ) -> None:  # fmt: skip
        self.nodes, self.meddle = nodes, meddle
        self.names = {node: f"client-{node - 100}" for node in nodes} if names is None else names
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

    def get_nodes(self) -> list[NodeInfo]:
        return [NodeInfo(node_id=node, name=self.names.get(node, "")) for node in self.nodes]

    def create_message(self, *arguments: Any, **options: Any) -> Message:
        raise NotImplementedError

    def set_run(self, run: Any) -> None:
        raise NotImplementedError

    @property
    def run(self) -> Any:
        raise NotImplementedError


# What Flower's executables know before they load an app.
TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1


def failed(reply: Message, reason: str) -> Message:
    """What a SuperNode sends instead when its ClientApp raises."""
    error = Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason)
    return make_message(metadata=reply.metadata, error=error)


def node_context(config: RunConfig, node: int, **node_config: Any) -> Context:
    settings = {**config.model_dump(), "out": "", "wait": 5.0, "least": 0, "timeout": 0.5, "registered": True}
    return Context(run_id=1, node_id=node, node_config=node_config, state=RecordDict(), run_config=settings)


def loop_nodes(config: RunConfig, folder: Path) -> dict[int, Context]:
    """Node 100 holds client 0's data, node 101 client 1's …"""
    for part in shard.split(config):
        part.write(folder / str(part.client) / "shard")
    return {
        100 + client: node_context(config, 100 + client, folder=str(folder / str(client)))
        for client in range(config.clients)
    }


def run_on(config: RunConfig, out: Path, grid: LoopGrid, **settings: Any) -> Run:
    """The run that the server leaves in `out`. settings: the app's own."""
    context = node_context(config, 1)
    context.run_config.update({"out": str(out), **settings})
    server_app.app(grid, context)
    return load_run(out)
