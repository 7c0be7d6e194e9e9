"""What a model is worth: on the test set, by class, and for each client."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from deltamask.codecs.wire.dense import Head
from deltamask.task.task import Task
from deltamask.training.head import split_head
from deltamask.training.losses import log_shares
from deltamask.training.metrics import measure

ADAPTED_CLIENTS = 1000  # beyond so many it would take longer than the rest of the evaluation
ADAPTED_NUMBERS = 2**22  # logits at a time


@dataclass(frozen=True)
class Evaluation:
    """On the test set. class_accuracy: (classes,), NaN for a class without test images.

    adapted: (clients,) accuracy for each client when it adds the logarithm of its own label shares to the logits; None
    where it was not asked for, or there are more than ADAPTED_CLIENTS. hits: (images,) which ones are right.
    metrics: the registered ones by name (`metrics.py`), None where there are none, or they were not asked for.
    """

    accuracy: float
    loss: float
    class_accuracy: npt.NDArray[np.float64]
    adapted: npt.NDArray[np.float64] | None = None
    hits: npt.NDArray[np.bool_] | None = None
    metrics: dict[str, float | None] | None = None


def evaluate(task: Task, effective: Tensor, head: Head, *, adapted: bool = False, own: bool = False) -> Evaluation:
    """Accuracy and cross-entropy of the network with tail weights `effective` (d,) and classifier `head`.

    adapted: also for each client with its own label shares. own: also the registered metrics.
    """
    weight, bias = split_head(head, task)
    logits = functional.linear(task.pooled(task.test_x, effective), weight, bias)
    hits = (logits.argmax(1) == task.test_y).numpy()
    labels = task.test_y.numpy()
    per_class = [
        hits[labels == label].mean() if (labels == label).any() else np.nan for label in range(len(task.classes))
    ]
    loss = float(functional.cross_entropy(logits, task.test_y))
    plain = Evaluation(float(hits.mean()), loss, np.array(per_class), hits=hits)
    if adapted and len(task.label_counts) <= ADAPTED_CLIENTS:
        plain = replace(plain, adapted=_adapted(task, logits, plain))
    return replace(plain, metrics=measure(logits.numpy().copy(), labels.copy())) if own else plain


def client_accuracy(evaluation: Evaluation, label_counts: npt.NDArray[np.int64]) -> float:
    """The server model's accuracy for a client: test accuracy by class, weighted with the client's own label shares.

    An exact expectation over the test set, with no test images set aside for each client. For a client of whose classes
    there are no test images, it is the accuracy on all of them.
    """
    return _weighted(evaluation.class_accuracy, label_counts, evaluation.accuracy)


def _weighted(class_accuracy: npt.NDArray[np.float64], counts: npt.NDArray[np.int64], otherwise: float) -> float:
    weight = np.where(np.isnan(class_accuracy), 0, counts)
    return float(np.nan_to_num(class_accuracy) @ weight / weight.sum()) if weight.sum() else otherwise


def _adapted(task: Task, logits: Tensor, plain: Evaluation) -> npt.NDArray[np.float64]:
    """`client_accuracy` of argmax(logits + log p_k), p_k being the label shares of client k: logit adjustment (arXiv
    2007.07314) towards the client's own classes.

    A client knows its shares, so that this costs no bits; a model trained by it alone has them in its logits anyway.
    logits: (n, classes) of the test set. Some clients at a time, in memory that their number does not change.
    """
    of_class = functional.one_hot(task.test_y, len(task.classes)).double()  # (n, classes)
    images = of_class.sum(0)
    found: list[float] = []
    counts = torch.from_numpy(task.label_counts)
    for some in counts.split(max(1, ADAPTED_NUMBERS // logits.numel())):
        shifted = logits + log_shares(some).float()[:, None]  # (clients, n, classes)
        hits = (shifted.argmax(2) == task.test_y).double()
        by_class = (hits @ of_class / images).numpy()  # (clients, classes), NaN without test images
        found += [_weighted(row, held, plain.accuracy) for row, held in zip(by_class, some.numpy(), strict=True)]
    return np.array(found)
