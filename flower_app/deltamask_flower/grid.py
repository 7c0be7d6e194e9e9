"""A Grid that asks for replies more often than Flower's three seconds, and goes on where one cannot be read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from logging import WARN
from typing import Any

import httpx
from flwr.app import Message, RecordDict
from flwr.common.logger import log
from flwr.serverapp import Grid

FASTEST = 0.2  # seconds between two questions
EACH = 0.002  # and at least this much for each reply that is waited for


class PromptGrid(Grid):
    """Flower's Grid with a `send_and_receive` of its own. All else is the wrapped one's.

    waiting: called whenever replies are asked for, with how many have come and how many are expected; what it raises
    ends the wait.
    """

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.waiting: Callable[[int, int], None] = lambda done, total: None

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """The replies that came within `timeout` seconds."""
        pending = set(self.grid.push_messages(list(messages)))
        total = len(pending)
        end = time.monotonic() + (float("inf") if timeout is None else timeout)
        replies: list[Message] = []
        while pending and time.monotonic() < end:
            for message_id, reply in self.poll(pending):
                pending.discard(message_id)
                replies += [] if reply is None else [reply]
            self.waiting(total - len(pending), total)
            if pending:
                self.rest(len(pending))
        return replies

    def poll(self, pending: Iterable[str]) -> Iterator[tuple[str, Message | None]]:
        """What has come by now: (the message, its reply, or None for one that cannot be put together).

        Each is fetched on its own: Flower raises for a reply that it cannot put together, and the others of the same
        request would be lost with it.
        """
        for message_id in sorted(pending):
            try:
                answered = list(self.grid.pull_messages([message_id]))
            except httpx.HTTPError:  # not the reply: the SuperLink
                raise
            except Exception as error:
                log(WARN, "A reply could not be put together, and is taken as none: %r", error)
                yield message_id, None
                continue
            if answered:
                yield message_id, answered[0]

    def rest(self, pending: int) -> None:
        """Wait until it is time to ask again for `pending` replies."""
        time.sleep(max(FASTEST, EACH * pending))

    def set_run(self, run: Any) -> None:
        self.grid.set_run(run)

    @property
    def run(self) -> Any:
        return self.grid.run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        return self.grid.create_message(content, message_type, dst_node_id, group_id, ttl)

    def get_node_ids(self) -> Iterable[int]:
        return self.grid.get_node_ids()

    def node_names(self) -> dict[int, str]:
        """{node: the name under which its key was registered, empty without one} of those that are connected."""
        return {node.node_id: node.name for node in self.grid.get_nodes()}

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return self.grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return self.grid.pull_messages(message_ids)
