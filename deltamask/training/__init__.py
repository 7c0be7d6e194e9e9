"""Local training and evaluation: the only folder where gradients flow.

Its names are loaded when first used, so that methods can be listed without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deltamask.training import adapters, square_adapters, zeroth_order
    from deltamask.training.adapters import train_adapters
    from deltamask.training.evaluation import Evaluation, client_accuracy, evaluate
    from deltamask.training.head import batches, split_head, train_head
    from deltamask.training.losses import local_loss
    from deltamask.training.schedule import scheduled
    from deltamask.training.scores import ScoreStep, Trained, train_scores
    from deltamask.training.weights import train_weights

__all__ = [
    "Evaluation", "ScoreStep", "Trained", "adapters", "batches", "client_accuracy", "evaluate", "local_loss",
    "scheduled", "split_head", "square_adapters", "train_adapters", "train_head", "train_scores", "train_weights",
    "zeroth_order",
]  # fmt: skip

_HOMES = {
    "adapters": ("train_adapters",),
    "evaluation": ("Evaluation", "client_accuracy", "evaluate"),
    "head": ("batches", "split_head", "train_head"),
    "losses": ("local_loss",),
    "schedule": ("scheduled",),
    "scores": ("ScoreStep", "Trained", "train_scores"),
    "square_adapters": (),
    "weights": ("train_weights",),
    "zeroth_order": (),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name == home:
            return importlib.import_module(f"{__name__}.{home}")
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
