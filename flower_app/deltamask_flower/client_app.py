"""The node's side: says which client's data it holds, and answers each round with the method's `client_update`."""

from __future__ import annotations

from collections.abc import Mapping
from logging import ERROR

from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.logger import log

from deltamask.codecs import DecodeError
from deltamask.config import RunConfig
from deltamask.methods.base import Upload
from deltamask.methods.head_round import method_of
from deltamask.simulation.loop import client_round
from deltamask_flower import node, wire
from deltamask_flower.wire import Identity

app = ClientApp()


def run_config(context: Context) -> RunConfig:
    """The fields of RunConfig among the app's settings. Raises ValidationError."""
    return RunConfig(**{name: context.run_config[name] for name in RunConfig.model_fields})


@app.query("hello")
def hello(message: Message, context: Context) -> Message:
    """Which client this is, how many samples of each class it holds, and the last round that it has read."""
    config = run_config(context)
    own = node.this_node(config, context)
    settings = message.content.config_records[wire.SETTINGS]
    have, _ = node.remembered(own.folder, str(settings["run"]))
    shard = ConfigRecord({"client": own.client, "label_counts": own.label_counts, "have": have})
    identity = Identity.of(config, own.task)
    records = {wire.SHARD: shard, wire.IDENTITY: identity.record()}
    return _reply(message, records, identity.refuses(Identity.read(message.content)))


@app.train()
def train(message: Message, context: Context) -> Message:
    """One round: read what the server sent, train, and answer with the payload or with why there is none."""
    config = run_config(context)
    own = node.this_node(config, context)
    settings = message.content.config_records[wire.SETTINGS]
    round, run, snapshot = int(settings["round"]), str(settings["run"]), bool(settings["snapshot"])  # type: ignore[arg-type]
    if refusal := Identity.of(config, own.task).refuses(Identity.read(message.content)):
        return _reply(message, {}, refusal)
    method = method_of(config, round)
    try:
        memory = node.read_messages(method, own, config, run, round, wire.unpack(message.content), snapshot)
    except DecodeError as error:
        have, _ = node.remembered(own.folder, run)
        return _reply(
            message, {wire.SHARD: ConfigRecord({"have": have})}, f"could not read the server's message: {error}"
        )
    upload = client_round(method, own.task, config, round, own.client, memory)
    read = {wire.SHARD: ConfigRecord({"have": round})}
    if isinstance(upload, str):
        return _reply(message, read, upload)
    report = MetricRecord(wire.finite(_figures(upload)))
    return _reply(message, {wire.PAYLOAD: wire.pack([upload.payload]), wire.REPORT: report, **read}, None)


def _figures(upload: Upload) -> dict[str, float | int | None]:
    """The report's figures. The positions that were sent stay here: they are in the payload already."""
    report = upload.report
    figures = {name: getattr(report, name) for name in ("loss", "flips", "entropy_iid", "entropy_side")}
    seconds = {f"seconds_{stage}": value for stage, value in report.seconds.items()}
    return {**figures, **seconds, "kept": None if report.sent is None else len(report.sent)}


def _reply(message: Message, records: Mapping[str, wire.Record], lost: str | None) -> Message:
    settings = ConfigRecord({})
    if lost is not None:
        settings["lost"] = lost
        log(ERROR, "Nothing of this node is used in this round: %s", lost)
    return Message(RecordDict({wire.SETTINGS: settings, **records}), reply_to=message)
