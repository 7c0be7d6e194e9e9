"""κ: what sending fewer of the flips costs in accuracy."""

from __future__ import annotations

from collections.abc import Sequence

from deltamask.studies.comparison import Group
from deltamask.studies.views.base import View, measured_in, views


def finds(groups: Sequence[Group], names: Sequence[str]) -> str | None:
    """The largest κ beside the smallest."""
    told = [(group.config.kappa, group.summary()) for group in groups]
    told = [(kappa, summary) for kappa, summary in told if summary["accuracy"] is not None and summary["bpp_up"]]
    if len(told) < 2:
        return None
    (low, least), (high, most) = min(told, key=lambda pair: pair[0]), max(told, key=lambda pair: pair[0])
    points = 100 * (least["accuracy"] - most["accuracy"])
    seeds = min(len(group.runs) for group in groups)
    return (
        f"κ {low:g} instead of κ {high:g} sends {least['bpp_up'] / most['bpp_up']:.0%} of the bits a round, and is "
        f"{abs(points):.1f} points {'more' if points > 0 else 'less'} accurate "
        f"({least['accuracy']:.4f} against {most['accuracy']:.4f}; {seeds} seed{'s' if seeds > 1 else ''})."
    )


views.register("kappa")(
    View(
        title="κ",
        asks="What does it cost to send only the most certain flips?",
        place=5,
        pick=measured_in("kappa"),
        finds=finds,
    )
)
