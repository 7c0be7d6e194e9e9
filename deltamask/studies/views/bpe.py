"""Bits per entry: false flips against bytes, and a codec that makes none."""

from __future__ import annotations

from collections.abc import Sequence

from deltamask.runs.figures import MEASURES
from deltamask.studies.comparison import Group
from deltamask.studies.views.base import View, measured_in, views


def finds(groups: Sequence[Group], names: Sequence[str]) -> str | None:
    """Bits and false flips of each."""
    parts = []
    for group, name in zip(groups, names, strict=True):
        if len(group.runs[0].rounds) < 2:
            continue
        false = [MEASURES["false_flips"](run.rounds) for run in group.runs]
        bits = group.summary()["bpp_up"]
        parts.append(f"{name} sends {bits:.3f} bpp a round with {sum(false) / len(false):,.0f} false flips a client")
    return "; ".join(parts) + "." if len(parts) > 1 else None


views.register("bpe")(
    View(
        title="Bits per entry",
        asks="How wide must a filter's entries be, and what does a codec without false flips send?",
        place=6,
        pick=measured_in("bpe"),
        finds=finds,
    )
)
