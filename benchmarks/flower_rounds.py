"""The `flower` variant of rounds.py: the same client and server updates through Flower's simulation on Ray.

Two clients at a time on one thread each, which is what Flower makes of two cores. Payloads travel as uint8 arrays.
"""

from __future__ import annotations

import functools
import os
import time
from typing import Any

import torch
from round_timing import Timing

from deltamask import training
from deltamask.config import RunConfig
from deltamask.methods import methods
from deltamask.simulation.loop import Checkpoint
from deltamask.task.task import Task, load_task

os.environ.update(FLWR_TELEMETRY_ENABLED="0", RAY_USAGE_STATS_ENABLED="0", RAY_DISABLE_MEMORY_MONITOR="1")

from deltamask_flower import wire
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation


@functools.cache
def _task(config: RunConfig) -> Task:
    """Each worker process loads the task once."""
    torch.set_num_threads(1)
    return load_task(config)


client_app = ClientApp()


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """One client's round."""
    settings: Any = message.content["settings"]
    config = RunConfig.model_validate_json(settings["config"])
    method, task, round = methods[config.method], _task(config), settings["round"]
    memory = method.receive(task, config, round, wire.unpack(message.content)[0], None)
    upload = method.client_update(task, config, round, settings["client"], memory)
    return Message(RecordDict({wire.PAYLOAD: wire.pack([upload.payload])}), reply_to=message)


def play_on_flower(task: Task, config: RunConfig, start: Checkpoint) -> Timing:
    """Time the rounds after `start`. Same seeds, so the same masks as in process, but for floating-point noise."""
    timing = Timing()
    method = methods[config.method]
    server_app = ServerApp()

    @server_app.main()
    def rounds(grid: Grid, context: Context) -> None:
        state = start.state
        while len(nodes := sorted(grid.get_node_ids())) < config.clients:
            time.sleep(0.1)
        for round in range(1, config.rounds + 1):
            begin = time.perf_counter()
            complete = method.snapshot if round > 1 and method.snapshot is not None else method.broadcast
            broadcast = complete(config, state, round)
            messages = [
                Message(
                    RecordDict({
                        wire.PAYLOAD: wire.pack([broadcast]),
                        "settings": ConfigRecord(
                            {"round": round, "client": client, "config": config.model_dump_json()}
                        ),
                    }),
                    dst_node_id=node, message_type="train",
                )
                for client, node in enumerate(nodes)
            ]  # fmt: skip
            client_of = dict(zip(nodes, range(config.clients), strict=True))
            replies = sorted(
                ((client_of[reply.metadata.src_node_id], wire.unpack(reply.content)[0])
                 for reply in grid.send_and_receive(messages)),
            )  # fmt: skip
            state = method.server_update(config, state, round, replies, lambda receipt: None)
            for name, weights in method.effective(task, config, state, round):
                accuracy = training.evaluate(task, weights, state.head).accuracy
                if name == "mean":
                    timing.accuracy = accuracy
            timing.seconds.append(time.perf_counter() - begin)
            timing.stages.append({})

    resources: dict[str, Any] = {"num_cpus": 1, "num_gpus": 0.0}
    run_simulation(server_app, client_app, config.clients, backend_config={"client_resources": resources})
    return timing
