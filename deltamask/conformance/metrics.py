"""What must hold for an own metric: for any logits it answers with a number, and with the same again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from deltamask.codecs.conformance import Broken
from deltamask.masking import noise
from deltamask.training.metrics import Labels, Logits, Metric

SHAPES = ((200, 10), (7, 3), (5, 2), (1, 2))  # (test samples, classes)


def _outputs() -> Iterator[tuple[Logits, Labels]]:
    """Logits as networks have them: spread, all alike, very sure; and labels of which some classes have none."""
    for samples, classes in SHAPES:
        generator = noise.generator(0, "metric laws", round=samples, client=classes)
        spread = generator.normal(size=(samples, classes)).astype(np.float32)
        labels = generator.integers(0, max(2, classes - 1), samples)
        for logits in (spread, np.zeros_like(spread), spread * np.float32(1e6)):
            for array in (logits, labels):
                array.flags.writeable = False
            yield logits, labels


def it_answers_with_a_number(metric: Metric) -> None:
    """A float, or what is one; it may be NaN, which is recorded as null."""
    for logits, labels in _outputs():
        value = metric(logits, labels)
        try:
            float(value)
        except (TypeError, ValueError):
            raise Broken(f"logits {logits.shape}: a {type(value).__name__} came, a number was expected") from None


def it_answers_the_same_again(metric: Metric) -> None:
    """So that a run that was killed goes on with identical records."""
    for logits, labels in _outputs():
        first, second = float(metric(logits, labels)), float(metric(logits, labels))
        if first != second and not (np.isnan(first) and np.isnan(second)):
            raise Broken(f"logits {logits.shape}: {first!r}, and then {second!r}")


LAWS: dict[str, Callable[[Metric], None]] = {
    law.__name__.replace("_", " "): law for law in (it_answers_with_a_number, it_answers_the_same_again)
}
