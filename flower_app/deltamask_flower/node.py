"""A node: the client whose data it holds, and what it keeps between two messages.

A SuperNode starts a process for each message, so what a client remembers of θ_g lies in a file. In Flower's simulation
all clients share the machine, and one file: every client that is up to date remembers the same.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
import torch
from flwr.app import Context

from deltamask.base.files import write_atomic
from deltamask.base.paths import cache_dir
from deltamask.codecs import DecodeError
from deltamask.config import RunConfig
from deltamask.methods.base import Memory, Method
from deltamask.methods.refit import is_complete
from deltamask.task.task import Task, load_task
from deltamask_flower.shard import Shard, node_task


@dataclass(frozen=True)
class Node:
    """A client's data, and the folder that it may write to."""

    client: int
    task: Task
    folder: Path

    @property
    def label_counts(self) -> list[int]:
        """How many samples of each class."""
        counts: list[int] = self.task.label_counts[self.client].tolist()
        return counts


def this_node(config: RunConfig, context: Context) -> Node:
    """From the node's own configuration: a folder with its shard, or, in a simulation, which part of the whole it is.

    OSError or ValueError if the shard is not there or damaged.
    """
    torch.set_num_threads(1)  # several nodes share a machine; and the order of sums depends on the number of threads
    if folder := context.node_config.get("folder"):
        return _from_folder(config, Path(str(folder)))
    client = int(str(context.node_config["partition-id"]))
    if client >= config.clients:
        raise ValueError(f"this is simulated node {client}, and the run has clients 0 to {config.clients - 1}")
    return Node(client, _whole(config), cache_dir() / "simulated")


@functools.lru_cache(maxsize=1)
def _whole(config: RunConfig) -> Task:
    """A worker of the simulation loads it once, for all the clients that it plays."""
    return load_task(config)


def _from_folder(config: RunConfig, folder: Path) -> Node:
    shard = Shard.read(folder / "shard")
    if shard.client >= config.clients:
        raise ValueError(f"{folder} holds client {shard.client}, and the run has clients 0 to {config.clients - 1}")
    return Node(shard.client, node_task(config, shard), folder)


def remembered(folder: Path, run: str) -> tuple[int, dict[str, Any] | None]:
    """(the last round whose message this node has read, the fields of what it left). (0, None) if it knows nothing of
    this run."""
    try:
        with safetensors.safe_open(folder / "memory.safetensors", framework="numpy") as file:
            metadata = file.metadata()
            if metadata.pop("run") != run:
                return 0, None
            round = int(metadata.pop("round"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return round, arrays | {name: int(number) for name, number in metadata.items()}
    except Exception:  # missing, damaged or of another version: all the same as knowing nothing
        return 0, None


def remember(folder: Path, run: str, round: int, memory: Memory) -> None:
    """Replace what was remembered: a dataclass of arrays and whole numbers."""
    fields = vars(memory)
    arrays = {name: value for name, value in fields.items() if isinstance(value, np.ndarray)}
    numbers = {name: str(value) for name, value in fields.items() if name not in arrays}
    folder.mkdir(parents=True, exist_ok=True)
    with write_atomic(folder / "memory.safetensors") as file:
        file.write(safetensors.numpy.save(arrays, metadata={"run": run, "round": str(round), **numbers}))


def read_messages(
    method: Method, node: Node, config: RunConfig, run: str, round: int, messages: list[bytes], snapshot: bool
) -> Memory:
    """What the client holds when `round` starts. messages: of the rounds up to `round`, or one snapshot.

    Raises DecodeError.
    """
    if is_complete(method, config):
        return method.receive(node.task, config, round, messages[-1], None)
    assert method.memory is not None
    have, fields = remembered(node.folder, run)
    memory = None if fields is None else method.memory(**fields)
    if have == round:
        return memory
    if snapshot:
        memory, have = method.receive(node.task, config, round, messages[-1], None), round
    for past in range(max(have, round - len(messages)) + 1, round + 1):
        if past > have + 1:
            raise DecodeError(f"messages of rounds {have + 1} to {past - 1} are missing")
        memory = method.receive(node.task, config, past, messages[past - round - 1], memory)
        have = past
    assert memory is not None  # `messages` holds this round's at least
    remember(node.folder, run, round, memory)
    return memory
