"""Own metrics: figures of the server model on the test set, recorded each round beside accuracy. None ships with us.

    from deltamask import metrics

    @metrics.register("top2")
    def top2(logits, labels):
        return float((np.argsort(logits)[:, -2:] == labels[:, None]).any(1).mean())

What is registered is measured in every round of every run: of this process, or of every command where a package
registers it by an entry point in the group `deltamask.training.metrics`. It is in the record as `metrics`, and a column
`metric_NAME` of `Run.rounds`. Needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from deltamask.base.registry import Registry

Logits = npt.NDArray[np.float32]  # (n, classes), of the server model with the mean mask, one row a test sample
Labels = npt.NDArray[np.int64]  # (n,)
Metric = Callable[[Logits, Labels], float]

MAX_NAME = 100  # characters
MOST = 1e30  # what a record holds

metrics: Registry[Metric] = Registry("metric")


class MetricError(RuntimeError):
    """A metric raised, or answered with something other than a number; the message says which."""


def measure(logits: Logits, labels: Labels) -> dict[str, float | None] | None:
    """Every registered metric, None for one that is not finite; None where none is registered. Raises MetricError.

    A metric sees the arrays read-only, so that none can change what the others, or the run, are measured by.
    """
    for array in (logits, labels):
        array.flags.writeable = False
    return {name: _value(name, metrics[name], logits, labels) for name in metrics} or None


def _value(name: str, metric: Metric, logits: Logits, labels: Labels) -> float | None:
    if not name or len(name) > MAX_NAME:
        raise MetricError(f"metric {name[:MAX_NAME]!r}: a name has between 1 and {MAX_NAME} characters")
    try:
        value = float(metric(logits, labels))
    except Exception as error:  # somebody's own code: whatever it raises, the metric's name belongs to it
        raise MetricError(f"metric {name!r} raised {type(error).__name__}: {error}") from error
    return value if math.isfinite(value) and abs(value) <= MOST else None
