"""The loss that clients train under."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from deltamask.config import RunConfig
from deltamask.task.task import Task

Loss = Callable[[Tensor, Tensor], Tensor]  # (logits (n, classes), labels (n,)) → scalar

SMALLEST_SHARE = 1e-6  # of a class that a client does not hold: it hardly counts among what the softmax compares


def log_shares(counts: Tensor) -> Tensor:
    """Logarithm of a client's label shares, (…, classes) in float64, from its samples of each class."""
    counts = counts.double()
    return (counts / counts.sum(-1, keepdim=True).clamp(min=1)).clamp(min=SMALLEST_SHARE).log()


def local_loss(task: Task, config: RunConfig, client: int) -> Loss:
    """Cross-entropy; with `balanced`, of logits + τ·log(label share) (balanced softmax, arXiv 2007.10740).

    A client's samples follow its own label shares. Added to its logits while it trains, they need not be learnt: the
    network keeps to what does not depend on the client. A class without samples counts with SMALLEST_SHARE.
    """
    if config.local_loss == "cross_entropy":
        return functional.cross_entropy
    offsets = config.balance_tau * log_shares(torch.from_numpy(task.label_counts[client])).float()

    def balanced(logits: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits + offsets.to(logits.device), labels)

    return balanced
