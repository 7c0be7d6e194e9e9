"""DeltaMask Explorer: federated fine-tuning by probabilistic masking, its bytes and its accuracy.

    from deltamask import RunConfig, run, simulate, Observer, make_task, load_run, list_runs, decode_flips
    from deltamask import backbones, codecs, datasets, methods, metrics

The latter have `names()` and `get(name)` for what is registered. Names are loaded when first used, so that reading runs
needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deltamask import backbones, codecs, datasets, methods
    from deltamask.config import RunConfig
    from deltamask.inspection.decode import decode_flips
    from deltamask.runs.begin import run
    from deltamask.runs.reader import list_runs, load_run
    from deltamask.simulation.loop import Observer, simulate
    from deltamask.task.custom import make_task
    from deltamask.training.metrics import metrics

__all__ = [
    "Observer", "RunConfig", "backbones", "codecs", "datasets", "decode_flips", "list_runs", "load_run", "make_task",
    "methods", "metrics", "run", "simulate",
]  # fmt: skip

_MODULES = {"backbones", "codecs", "datasets", "methods"}
_HOMES = {
    "Observer": "simulation.loop",
    "RunConfig": "config",
    "decode_flips": "inspection.decode",
    "list_runs": "runs.reader",
    "load_run": "runs.reader",
    "make_task": "task.custom",
    "metrics": "training.metrics",
    "run": "runs.begin",
    "simulate": "simulation.loop",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
