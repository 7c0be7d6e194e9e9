"""Small grids of cells, one for each position of the walkthrough's block, as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deltamask.masking.masks import ONE, Mask, Positions, Theta, Words
from deltamask.teaching.walkthrough import example

SENT, FALSE, HELD_BACK, ALL, THETA, NEUTRAL = "#2f7fd1", "#d9641e", "#7d8590", "#1f9e77", "#8a6fd1", "currentColor"


@dataclass(frozen=True)
class Grid:
    """Cells row by row: (colour, opacity, tooltip) of each. marks: (cells, frame colour). texts: in cells."""

    title: str
    cells: Sequence[tuple[str, float, str]]
    columns: int
    marks: Sequence[tuple[Sequence[int], str]] = ()
    texts: Sequence[str] = ()
    about: str = ""


def probability(title: str, theta: Theta, **more: Any) -> Grid:
    values = theta / ONE
    return Grid(title, [(THETA, 0.06 + 0.94 * float(v), f"{v:.4f}") for v in values], example().side, **more)


def bits(title: str, mask: Mask, **more: Any) -> Grid:
    return Grid(title, [(NEUTRAL, 0.72 if bit else 0.07, str(int(bit))) for bit in mask], example().side, **more)


def members(title: str, d: int, sets: Sequence[tuple[Positions, str, str]], **more: Any) -> Grid:
    cells = [(NEUTRAL, 0.07, "–")] * d
    for positions, color, name in sets:
        for position in positions.tolist():
            cells[position] = (color, 1.0, name)
    return Grid(title, cells, example().side, **more)


def noise(u: Words) -> Grid:
    """The public randomness; light cells are small numbers."""
    return Grid("u", [(NEUTRAL, 0.05 + 0.7 * v / ONE, f"{v / ONE:.4f}") for v in u.tolist()], example().side)


def draw(grid: Grid) -> str:
    """A grid as HTML. It holds only numbers and the page's own words, so nothing is escaped."""
    frames = {index: color for cells, color in grid.marks for index in cells}
    parts = []
    for index, (color, opacity, tooltip) in enumerate(grid.cells):
        delay = 12 * (index % grid.columns + index // grid.columns)
        frame = f"box-shadow:0 0 0 2px {frames[index]};" if index in frames else ""
        text = f"<b>{grid.texts[index]}</b>" if grid.texts and grid.texts[index] else ""
        parts.append(
            f'<div class="walk-cell" title="{tooltip}" style="animation-delay:{delay}ms;{frame}">'
            f'<i style="background:{color};opacity:{opacity:.3f}"></i>{text}</div>'
        )
    return f'<div class="walk-grid" style="grid-template-columns:repeat({grid.columns},1fr)">{"".join(parts)}</div>'


STYLE = """<style>
.walk {display: flex; flex-wrap: wrap; gap: 1.6rem;}
.walk figure {margin: 0; flex: 1 1 200px; max-width: 330px;}
.walk figcaption {font-size: .9rem; margin-bottom: .45rem; font-weight: 600;}
.walk small {font-weight: 400; opacity: .8; display: block; font-size: .8rem;}
.walk-grid {display: grid; gap: 2px;}
.walk-cell {aspect-ratio: 1; position: relative; border-radius: 2px; animation: walk-in .45s ease-out backwards;}
.walk-cell i {position: absolute; inset: 0; border-radius: 2px;}
.walk-cell b {position: absolute; inset: 0; display: grid; place-items: center;
  font: 500 .62rem ui-monospace, monospace;}
.blurred {filter: blur(22px); opacity: .4; pointer-events: none; user-select: none;}
@keyframes walk-in {from {opacity: 0; transform: scale(.6);}}
@media (prefers-reduced-motion: reduce) {.walk-cell {animation: none;}}
</style>"""


def as_html(grids: Sequence[Grid], *, blurred: bool = False) -> str:
    """The grids side by side. blurred: until the step's question is answered."""
    figures = "".join(
        f"<figure><figcaption>{grid.title}<small>{grid.about or '&nbsp;'}</small></figcaption>{draw(grid)}</figure>"
        for grid in grids
    )
    hidden = ' aria-hidden="true"' if blurred else ""
    return f'{STYLE}<div class="walk{" blurred" if blurred else ""}"{hidden}>{figures}</div>'
