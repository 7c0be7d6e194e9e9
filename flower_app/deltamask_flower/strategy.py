"""Our loop as a Flower strategy. It carries messages; what they say is the methods' business.

`Strategy.start` asks for a round's messages, sends them, and hands over the replies. Between the two stands
`deltamask.simulation.loop.serve`, the generator that also drives an in-process run: it opens a round, and closes it
when it is given the answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from logging import INFO
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.common.constant import ErrorCode
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from deltamask.codecs import DecodeError
from deltamask.methods.base import ClientReport, Upload
from deltamask.simulation.loop import Answer, OpenRound, Server
from deltamask.simulation.records import RoundRecord
from deltamask_flower import wire
from deltamask_flower.roster import PASSING, Roster
from deltamask_flower.wire import Identity

PNG = b"\x89PNG"
EXPIRED = (ErrorCode.MESSAGE_UNAVAILABLE, ErrorCode.REPLY_MESSAGE_UNAVAILABLE)  # messages live as long as a round waits


@dataclass
class DeltaMask(Strategy):
    """server: the run, before its next round. identity: what nodes must be equal to. run: names the run folder.

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
        """What is being waited for, in the words of an in-process run."""
        return f"round {self._opened.round}, clients" if isinstance(self._opened, OpenRound) else "the end"

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """For each sampled client what it lacks: the broadcasts since the last that it has read, or a snapshot."""
        opened = self._opened
        assert isinstance(opened, OpenRound)
        if opened.round:
            self._broadcasts[opened.round] = opened.message
        self._sent = {}
        for client in opened.sampled:
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
        if opened.courier.complete:
            return [opened.message], False
        lacking = range(min(self.roster.have[client], opened.round - 1) + 1, opened.round + 1)
        snapshot = opened.courier.shorter_snapshot(lacking)
        if snapshot is None and any(round not in self._broadcasts for round in lacking):
            snapshot = opened.courier.snapshot(opened.round)  # this process began after some of them
        if snapshot is not None:
            return [snapshot], True
        return [self._broadcasts[round] for round in lacking], False

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Close the round with what has come, and open the next. The state stays here; what is returned is a report."""
        by_message = {reply.metadata.reply_to_message_id: reply for reply in replies}
        record = self.server.send(self._answers(by_message))
        assert isinstance(record, RoundRecord)
        self.records.append(record)
        for client in record.clients:
            if client.dropped is not None:
                log(INFO, "round %d goes on without client %d: %s", record.round, client.client, client.dropped)
        self._opened = next(self.server, None)
        return None, MetricRecord({
            "round": record.round, "accuracy": record.accuracy, "bpp_up": record.bpp_up, "bpp_down": record.bpp_down,
        })  # fmt: skip

    def _answers(self, replies: dict[str, Message]) -> Iterator[Answer]:
        """In the clients' order, in which sums are taken."""
        for client, (message, delivered) in self._sent.items():
            reply = replies.pop(message.metadata.message_id, None)
            if reply is None:
                yield Answer(client, delivered, self._silence)
                continue
            try:
                yield Answer(client, delivered, self._read(client, reply))
            except DecodeError as error:
                yield Answer(client, delivered, str(error))

    def _read(self, client: int, reply: Message) -> Upload | str:
        """The upload in a reply, or why there is none. Raises DecodeError."""
        if reply.has_error():
            if reply.error.code in EXPIRED:  # the SuperLink was asked just after it had forgotten the message
                return self._silence
            silent = reply.error.code in PASSING
            return f"{'no answer' if silent else 'the node failed'}: {reply.error.reason}"
        shard = reply.content.config_records.get(wire.SHARD, ConfigRecord())
        have = shard.get("have")
        if type(have) is int and have >= 0:
            self.roster.have[client] = have
        lost = reply.content.config_records.get(wire.SETTINGS, ConfigRecord()).get("lost")
        if lost is not None:
            return str(lost)
        payloads = wire.unpack(reply.content)
        if len(payloads) != 1:
            raise DecodeError(f"the reply holds {len(payloads)} payloads, expected 1")
        suffix = ".png" if payloads[0].startswith(PNG) else ".bin"  # by what it is, not by what its sender calls it
        return Upload(payloads[0], suffix, _report(reply.content.metric_records.get(wire.REPORT, MetricRecord())))

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


def _report(record: Any) -> ClientReport:
    """What a node says of its own work; plain numbers or nothing."""
    told = {name: value for name, value in record.items() if isinstance(value, int | float)}
    counts = {name: int(told[name]) for name in ("flips", "kept") if name in told}
    entropies = {name: float(told[name]) for name in ("entropy_iid", "entropy_side") if name in told}
    seconds = {
        name.removeprefix("seconds_"): float(told[name]) for name in ("seconds_train", "seconds_encode") if name in told
    }
    return ClientReport(loss=float(told.get("loss", "nan")), seconds=seconds, **counts, **entropies)  # type: ignore[arg-type]
