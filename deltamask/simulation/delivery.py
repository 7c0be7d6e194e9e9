"""Who is sent what on the downlink, and what it weighs."""

from __future__ import annotations

from collections.abc import Iterable

from deltamask.config import RunConfig
from deltamask.methods.base import Memory, Method, State
from deltamask.methods.participation import sampled_clients
from deltamask.methods.refit import is_complete
from deltamask.task.task import Task


class Delivery:
    """What each sampled client is sent of the downlink, and how many bytes that takes.

    All clients that are up to date hold the same `memory`, so one stands for all. A client that missed rounds is sent
    the messages of all of them, or a snapshot where that is shorter. sizes: bytes of each round's broadcast, by
    round; a run that goes on from a checkpoint passes those so far, from round 1.
    """

    def __init__(self, method: Method, task: Task, config: RunConfig, sizes: Iterable[int] = ()) -> None:
        self.method, self.task, self.config = method, task, config
        self.complete = is_complete(method, config)
        self.sizes = dict(enumerate(sizes, start=1))
        self.memory: Memory = None
        self._seen: dict[int, int] = {}  # the last round each client was sampled in
        for round in self.sizes:
            self._seen.update(dict.fromkeys(sampled_clients(config, round), round))
        self._snapshot: bytes | None = None

    def open(self, state: State, round: int) -> bytes:
        """Make the round's broadcast, and read it as a client does. The message."""
        message = self.method.broadcast(self.config, state, round)
        self._state, self._snapshot = state, None
        first = message
        if self.memory is None and round > 1 and not self.complete:
            first = self.snapshot(round)  # this process begins here, with a memory as empty as a new client's
        self.memory = self.method.receive(self.task, self.config, round, first, self.memory)
        self.sizes[round] = len(message)
        return message

    def snapshot(self, round: int) -> bytes:
        """The message for a client that holds nothing; made once a round, and only if somebody asks."""
        if self._snapshot is None:
            assert self.method.snapshot is not None
            self._snapshot = self.method.snapshot(self.config, self._state, round)
        return self._snapshot

    def missed(self, client: int, round: int) -> range:
        """The rounds whose broadcasts this client lacks, the present one included."""
        if self.complete:
            return range(round, round + 1)
        return range(self._seen.get(client, 0) + 1, round + 1)

    def deliver(self, client: int, round: int) -> int:
        """Bytes that the client is sent: the fewest that bring it up to date."""
        lacking = self.missed(client, round)
        self._seen[client] = round
        snapshot = self.shorter_snapshot(lacking)
        return sum(self.sizes[past] for past in lacking) if snapshot is None else len(snapshot)

    def shorter_snapshot(self, lacking: range) -> bytes | None:
        """The snapshot, if it is shorter than the broadcasts of all these rounds, of which the last is the open one."""
        chain = sum(self.sizes[past] for past in lacking)
        if len(lacking) == 1 or chain <= 4 * self.task.head_size:  # no snapshot is shorter than the head in it
            return None
        snapshot = self.snapshot(lacking[-1])
        return snapshot if len(snapshot) < chain else None
