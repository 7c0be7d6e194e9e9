"""What a run on nodes is compared with."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from deltamask.config import RunConfig
from deltamask.runs.reader import Run
from deltamask.simulation.loop import Answer, OpenRound, client_round, serve
from deltamask.simulation.records import RoundRecord
from deltamask.task.task import load_task
from tests.support import tiny


def in_process(config: RunConfig, lost: Collection[tuple[int, int]] = ()) -> tiny.Witness:
    """The run in this process; nothing comes of the (round, client) in `lost`."""
    witness, task = tiny.Witness(), load_task(config)
    server = serve(config, task, None, witness)

    def answers(opened: OpenRound) -> Iterator[Answer]:
        for client in opened.sampled:
            delivered = opened.delivery.deliver(client, opened.round)
            if (opened.round, client) in lost:
                yield Answer(client, delivered, "lost")
                continue
            upload = client_round(opened.method, task, config, opened.round, client, opened.delivery.memory)
            yield Answer(client, delivered, upload)

    event = next(server, None)
    while event is not None:
        event = next(server, None) if isinstance(event, RoundRecord) else server.send(answers(event))
    return witness


def payloads(run: Run) -> dict[tuple[int, int], bytes]:
    """The uplink messages that a run has kept, by round and client."""
    return {(kept.round, kept.client): kept.read() for kept in run.payloads() if kept.client is not None}
