"""Figures and texts as the document's Markdown has them."""

from __future__ import annotations

import math

from deltamask.studies import intervals
from deltamask.studies.intervals import Difference

SHARES = ("accuracy", "better_than_alone")  # how measures begin that cannot leave [0, 1]
COUNTS = {"kept": "flips sent", "false_flips": "false flips"}


def number(value: float, width: float, name: str) -> str:
    """A measure with its interval: `0.8931 ± 0.0024`; `–` where it is not defined.

    The interval of a share that would leave [0, 1] is given by its ends: `0.9903 (0.9721 to 1)`.
    """
    if not math.isfinite(value):
        return "–"
    digits = 0 if name in COUNTS else 2 if name.startswith("megabytes") or value >= 10 else 4
    if name.startswith(SHARES) and math.isfinite(width) and not 0 <= value - width <= value + width <= 1:
        low, high = (f"{end:.{digits}f}" if 0 < end < 1 else f"{end:.0f}" for end in intervals.inside(value, width))
        return f"{value:.{digits}f} ({low} to {high})"
    interval = f" ± {width:,.{digits}f}" if math.isfinite(width) else ""
    return f"{value:,.{digits}f}{interval}"


def points(gap: Difference) -> str:
    """A difference in accuracy, in points, with its interval over seeds: `+0.31 ± 0.20 points`."""
    return f"{gap_text(gap.mean, gap.seeds)} points" if gap.pairs else "no seed in common"


def gap_text(mean: float, width: float) -> str:
    """A difference of two shares, in points: `+0.31 ± 0.20`."""
    return f"{100 * mean:+.2f}" + (f" ± {100 * width:.2f}" if math.isfinite(width) else "")


def times(ratio: float) -> str:
    """A ratio: `× 24.3`, `× 1,272`."""
    return f"× {ratio:,.0f}" if ratio >= 100 else f"× {ratio:.3g}"


def p_text(p: float) -> str:
    """A p-value: `0.031`, `< 0.001`."""
    return "–" if not math.isfinite(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def quoted(text: str) -> str:
    """Text of an experiment file, which may be anybody's, where Markdown is read: no tag, link or cell, one line."""
    return " ".join(text.split()).replace("<", "&lt;").replace("|", "\\|").replace("](", "]\\(")


def markdown_table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown; what its cells hold is `quoted`."""
    lines = [head, ["---"] * len(head), *([quoted(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
