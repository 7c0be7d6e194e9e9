"""What must hold for whatever is registered: `deltamask check NAME` runs for it what this package's own tests run.

Each kind of thing has a file of laws. A law takes what is registered and raises `Broken`, saying what was expected and
what came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from deltamask.base.registry import find
from deltamask.codecs import conformance as codecs
from deltamask.codecs.conformance import Broken
from deltamask.conformance import attacks, backbones, datasets, heads, methods, metrics, partitions, updates

Law = Callable[[Any], None]
LAWS: dict[str, dict[str, Law]] = {
    "method": methods.LAWS,
    "codec": codecs.LAWS,
    "update codec": updates.LAWS,
    "head": heads.LAWS,
    "dataset": datasets.LAWS,
    "backbone": backbones.LAWS,
    "partition": partitions.LAWS,
    "attack": attacks.LAWS,
    "metric": metrics.LAWS,
}

__all__ = ["LAWS", "Broken", "Outcome", "check", "kinds_of"]


class Outcome(NamedTuple):
    """What came of a law. fault: why it does not hold, None if it does."""

    kind: str
    law: str
    fault: str | None


def kinds_of(name: str) -> list[str]:
    """The kinds of thing that are registered under a name. KeyError if there are none, listing what exists."""
    found = [kind for kind in LAWS if name in find(kind)]
    if not found:
        known = "; ".join(f"{kind}: {', '.join(find(kind).names())}" for kind in LAWS)
        raise KeyError(f"nothing is registered as {name!r}. There are: {known}")
    return found


def check(name: str) -> Iterator[Outcome]:
    """Try every law on whatever is registered under `name`, one after the other."""
    for kind in kinds_of(name):
        entry = find(kind).get(name)
        for law, holds in LAWS[kind].items():
            try:
                holds(entry)
            except Broken as error:
                yield Outcome(kind, law, str(error))
            except Exception as error:  # a stranger's code: whatever it raises is the answer
                yield Outcome(kind, law, f"{type(error).__name__}: {error}")
            else:
                yield Outcome(kind, law, None)
