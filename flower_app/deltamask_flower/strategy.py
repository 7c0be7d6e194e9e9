"""Our loop as a Flower strategy. It carries messages and does not look into them: methods do.

`Strategy.start` asks for a round's messages, sends them, and hands over the replies. Between the two stands
`deltamask.simulation.loop.serve`, the generator that also drives an in-process run: it opens a round, and closes it
when it is given the answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from logging import INFO

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.common.constant import ErrorCode
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from deltamask.codecs import DecodeError
from deltamask.methods.base import Upload
from deltamask.simulation.loop import Answer, OpenRound, Server
from deltamask.simulation.records import RoundRecord
from deltamask_flower import answers, wire
from deltamask_flower.roster import PASSING, Roster
from deltamask_flower.wire import Identity

EXPIRED = (ErrorCode.MESSAGE_UNAVAILABLE, ErrorCode.REPLY_MESSAGE_UNAVAILABLE)  # messages live as long as a round waits


@dataclass
class DeltaMask(Strategy):
    """server: the run, before its next round. identity: what nodes must agree with. run: names the run folder.

    timeout: seconds that a round waits, and that its messages are worth delivering.
    """

    server: Server
    roster: Roster
    identity: Identity
    run: str
    timeout: float
    records: list[RoundRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._opened: OpenRound | RoundRecord | None = next(self.server)
        self._broadcasts: dict[int, bytes] = {}  # by round, for clients that will have missed some
        self._sent: dict[int, tuple[Message, int]] = {}  # by client: the message, and the bytes of ours in it

    @property
    def _silence(self) -> str:
        return f"no answer within {self.timeout:g} s"

    @property
    def what(self) -> str:
        """What the server waits for, in the words of an in-process run."""
        return f"round {self._opened.round}, clients" if isinstance(self._opened, OpenRound) else "the end"

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """For each sampled client that has a node, what it lacks: the broadcasts since the last that it has read, or a
        snapshot."""
        opened = self._opened
        assert isinstance(opened, OpenRound)
        if opened.round:
            self._broadcasts[opened.round] = opened.message
        self._sent = {}
        for client in sorted(set(opened.sampled) - set(self.roster.absent)):
            parcel, snapshot = self._parcel(opened, client)
            settings = ConfigRecord({"round": opened.round, "run": self.run, "snapshot": snapshot})
            content: dict[str, wire.Record] = {
                wire.PAYLOAD: wire.pack(parcel),
                wire.SETTINGS: settings,
                wire.IDENTITY: self.identity.record(),
            }
            message = Message(
                RecordDict(content), dst_node_id=self.roster.nodes[client], message_type="train", ttl=self.timeout,
                group_id=str(opened.round),
            )  # fmt: skip
            self._sent[client] = message, sum(map(len, parcel))
        return [message for message, _ in self._sent.values()]

    def _parcel(self, opened: OpenRound, client: int) -> tuple[list[bytes], bool]:
        """(messages, are they a snapshot)."""
        if opened.delivery.complete:
            return [opened.message], False
        lacking = range(min(self.roster.have[client], opened.round - 1) + 1, opened.round + 1)
        snapshot = opened.delivery.shorter_snapshot(lacking)
        if snapshot is None and any(round not in self._broadcasts for round in lacking):
            snapshot = opened.delivery.snapshot(opened.round)  # this process began after some of them
        if snapshot is not None:
            return [snapshot], True
        return [self._broadcasts[round] for round in lacking], False

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Close the round with what has come, and open the next. The state stays here; what is returned is a report."""
        by_message = {reply.metadata.reply_to_message_id: reply for reply in replies}
        event = self.server.send(self._answers(by_message))
        if isinstance(event, OpenRound):  # the same round goes to the clients once more
            self._opened = event
            return None, None
        record = event
        self.records.append(record)
        for client in record.clients:
            if client.dropped is not None:
                log(INFO, "round %d goes on without client %d: %s", record.round, client.client, client.dropped)
        self._opened = next(self.server, None)
        return None, MetricRecord({
            "round": record.round, "accuracy": record.accuracy, "bpp_up": record.bpp_up, "bpp_down": record.bpp_down,
        })  # fmt: skip

    def _answers(self, replies: dict[str, Message]) -> Iterator[Answer]:
        """In the clients' order, in which sums are taken. What is wrong with one reply costs its sender the round."""
        assert isinstance(self._opened, OpenRound)
        for client in self._opened.sampled:
            if client in self.roster.absent:
                yield Answer(client, 0, self.roster.absent[client])
                continue
            message, delivered = self._sent[client]
            reply = replies.pop(message.metadata.message_id, None)
            try:
                upload = self._silence if reply is None else self._read(client, reply)
            except DecodeError as error:
                upload = answers.cut(error)
            except Exception as error:  # of a record that Flower built from a stranger's bytes: anything
                upload = answers.cut(f"the reply cannot be read: {type(error).__name__}: {error}")
            yield Answer(client, delivered, upload)

    def _read(self, client: int, reply: Message) -> Upload | str:
        """The upload in a reply, or why there is none. Raises DecodeError."""
        if reply.has_error():
            if reply.error.code in EXPIRED:  # the SuperLink was asked just after it had forgotten the message
                return self._silence
            silent = reply.error.code in PASSING
            return answers.cut(f"{'no answer' if silent else 'the node failed'}: {reply.error.reason}")
        if reply.metadata.src_node_id != self.roster.nodes[client]:
            raise DecodeError(f"node {reply.metadata.src_node_id} answered for client {client}")
        if (have := answers.read_have(reply)) is not None:
            self.roster.have[client] = have
        return answers.read_upload(reply, answers.Limits(self.identity.d, self.identity.head_size))

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Nothing: the server evaluates, on the test set that it holds."""
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        return None

    def summary(self) -> None:
        """What Flower logs before the first round."""
        log(INFO, "\t├──> %d clients, each at a node of its own; d = %d", len(self.roster.nodes), self.identity.d)
