"""LoRA (arXiv 2106.09685) by FedAvg: rank-r adapters beside the tail's matrices, A and B averaged each on its own.

(The product of averages is not the average of products; this is how federated LoRA is commonly done.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deltamask import training
from deltamask.codecs.wire.dense import Head, Vector
from deltamask.config import RunConfig
from deltamask.methods import fedavg
from deltamask.methods.base import Variant, methods
from deltamask.methods.fedavg import VectorState

if TYPE_CHECKING:
    from torch import Tensor

    from deltamask.task.task import Task


def init(task: Task, config: RunConfig, head: Head) -> VectorState:
    """A random, the same for all, and B zero."""
    return fedavg.start(task, training.adapters.initial(task.tail, config.lora_rank, config.seed), head)


def count(task: Task, config: RunConfig) -> int:
    return training.adapters.size(task.tail, config.lora_rank)


def train(task: Task, values: Vector, config: RunConfig, **at: Any) -> tuple[Vector, float]:
    """Local epochs on the adapters and the head."""
    return training.train_adapters(task, values, config, **at)


def weights(task: Task, config: RunConfig, values: Vector) -> Tensor:
    """w + B·A."""
    flat = task.tail.tensor(values[: count(task, config)])
    return training.adapters.effective(task.tail, training.adapters.split(flat, task.tail, config.lora_rank))


methods.register("lora")(
    fedavg.method(
        "LoRA",
        "Clients send how low-rank adapters beside the tail's matrices and the head changed.",
        init,
        count,
        train,
        weights,
        reads=("lora_rank",),
        variant=lambda config: Variant((config.update_codec,)),
        color="#02a0c1",
        marker="hexagon",
    )
)
