"""Full fine-tuning of the tail and the head by FedAvg, and the same with updates of about a bit a weight.

signsgd: arXiv 1802.04434. qsgd: 1610.02132. drive: 2105.08339. eden: 2108.08842. They differ from `finetune` in their
update codec only (`deltamask/updates/`), which is where their mathematics is.
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

UPDATE_CODECS = {"finetune": None, "signsgd": "signsgd", "qsgd": "qsgd", "drive": "drive", "eden": "eden1"}


def init(task: Task, config: RunConfig, head: Head) -> VectorState:
    """The pretrained weights."""
    return fedavg.start(task, task.tail.weights.cpu().numpy(), head)


def count(task: Task, config: RunConfig) -> int:
    return task.d


def effective(task: Task, config: RunConfig, state: VectorState, round: int) -> Iterator[tuple[str, Tensor]]:
    """The weights as they are."""
    yield "mean", torch.from_numpy(state.values[: task.d]).to(task.device)


for _name, _codec in UPDATE_CODECS.items():
    methods.register(_name)(fedavg.method(init, count, training.train_weights, effective, _codec))
