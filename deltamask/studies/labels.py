"""What runs are called in legends and tables."""

from __future__ import annotations

from deltamask.config import RunConfig
from deltamask.methods import methods
from deltamask.runs.reader import Run

CHANGED = "[changed midway]"


def label(run: Run) -> str:
    """A run's name in legends: method and variant, without the folder's hash; and whether its data changed midway."""
    return config_label(run.config) + (f" {CHANGED}" if run.changes else "")


def config_label(config: RunConfig) -> str:
    """Method, and in brackets how the config varies it."""
    method = methods[config.method]
    words = [*method.variant(config).words]
    if config.weights == "random":
        words.append("random weights")
    return f"{method.label} ({', '.join(words)})" if words else method.label
