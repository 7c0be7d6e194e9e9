"""What a model is worth: on the test set, by class, and for each client."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.nn import functional

from deltamask.codecs.wire.dense import Head
from deltamask.task.task import Task
from deltamask.training.head import split_head


@dataclass(frozen=True)
class Evaluation:
    """On the test set. class_accuracy: (classes,), NaN for a class without test images."""

    accuracy: float
    loss: float
    class_accuracy: npt.NDArray[np.float64]


def evaluate(task: Task, effective: Tensor, head: Head) -> Evaluation:
    """Accuracy and cross-entropy of the network with tail weights `effective` (d,) and classifier `head`."""
    weight, bias = split_head(head, task)
    logits = functional.linear(task.pooled(task.test_x, effective), weight, bias)
    hits = (logits.argmax(1) == task.test_y).numpy()
    labels = task.test_y.numpy()
    per_class = [
        hits[labels == label].mean() if (labels == label).any() else np.nan for label in range(len(task.classes))
    ]
    return Evaluation(float(hits.mean()), float(functional.cross_entropy(logits, task.test_y)), np.array(per_class))


def client_accuracy(evaluation: Evaluation, label_counts: npt.NDArray[np.int64]) -> float:
    """The server model's accuracy for a client: test accuracy by class, weighted with the client's own label shares.

    An exact expectation over the test set, with no test images set aside for each client.
    """
    tested = ~np.isnan(evaluation.class_accuracy)
    weight = np.where(tested, label_counts, 0)
    return (
        float(np.nan_to_num(evaluation.class_accuracy) @ weight / weight.sum()) if weight.sum() else evaluation.accuracy
    )
