"""Full fine-tuning of the tail and the head by FedAvg, and the same with updates of about a bit a weight.

signsgd: arXiv 1802.04434. qsgd: 1610.02132. drive: 2105.08339. eden: 2108.08842. They differ from `finetune` in their
update codec only (`deltamask/codecs/updates/`), which is where their mathematics is.
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
    """The pretrained weights."""
    return fedavg.start(task, task.tail.weights.cpu().numpy(), head)


def count(task: Task, config: RunConfig) -> int:
    return task.d


def train(task: Task, values: Vector, config: RunConfig, **at: Any) -> tuple[Vector, float]:
    """Local epochs on the tail's weights and the head."""
    return training.train_weights(task, values, config, **at)


def weights(task: Task, config: RunConfig, values: Vector) -> Tensor:
    """The weights as they are."""
    return task.tail.tensor(values[: task.d])


def register(name: str, label: str, about: str, codec: str | None, color: str, marker: str, **rest: Any) -> None:
    """One form of fine-tuning. codec: its update codec; None: the config's."""
    methods.register(name)(
        fedavg.method(label, about, init, count, train, weights, codec=codec, color=color, marker=marker, **rest)
    )


register(
    "finetune", "Fine-tuning", "Clients send how all weights of the tail and the head changed.", None,
    "#d8185f", "star", variant=lambda config: Variant((config.update_codec,)),
)  # fmt: skip
register("signsgd", "signSGD", "Fine-tuning whose updates are signs.", "signsgd", "#b6856c", "pentagon")
register("qsgd", "QSGD", "Fine-tuning whose updates are rounded at random to a few levels.", "qsgd", "#7d67a4",
         "triangle-down")  # fmt: skip
register("drive", "DRIVE", "Fine-tuning whose updates are one bit a weight after a rotation.", "drive", "#b26efb", "x")
register("eden", "EDEN", "Fine-tuning whose updates are one unbiased bit a weight after a rotation.", "eden1",
         "#a308fb", "cross")  # fmt: skip
