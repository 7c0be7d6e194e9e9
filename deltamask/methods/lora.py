"""LoRA (arXiv 2106.09685) by FedAvg: rank-r adapters beside the tail's matrices, A and B averaged each on its own.

(The product of averages is not the average of products; this is how federated LoRA is commonly done.)
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from deltamask import training
from deltamask.codecs.wire.dense import Head
from deltamask.config import RunConfig
from deltamask.methods import fedavg
from deltamask.methods.base import methods
from deltamask.methods.fedavg import VectorState
from deltamask.task.task import Task
from deltamask.training import adapters


def init(task: Task, config: RunConfig, head: Head) -> VectorState:
    """A random, the same for all, and B zero."""
    return fedavg.start(task, adapters.initial(task.tail, config.lora_rank, config.seed), head)


def count(task: Task, config: RunConfig) -> int:
    return adapters.size(task.tail, config.lora_rank)


def effective(task: Task, config: RunConfig, state: VectorState, round: int) -> Iterator[tuple[str, Tensor]]:
    """w + B·A."""
    values = torch.from_numpy(state.values[: count(task, config)].copy()).to(task.device)
    yield "mean", adapters.effective(task.tail, adapters.split(values, task.tail, config.lora_rank))


methods.register("lora")(fedavg.method(init, count, training.train_adapters, effective))
