"""One look for a method everywhere: its colour, its marker, its name in legends.

Colours were searched for under four kinds of vision (normal, protan, deutan, tritan; Machado et al. 2009) so that any
two stay apart, inside the band of luminance that has a contrast of 3 to 1 on the light page and on the dark one. Each
method has a marker of its own as well, so that nothing depends on colour alone. Variants of one method differ in dash.
"""

from __future__ import annotations

from html import escape

from deltamask.config import RunConfig
from deltamask.methods import methods

OTHER = "#7d8590"  # a method that nobody has given a colour
# What a round is made of, and what its bits are measured against.
FLIPS, KEPT, FALSE_FLIPS = "#2f7fd1", "#1f9e77", "#d9641e"
BOUND_IID, BOUND_SIDE = "#8a6fd1", "#1f9e77"
STAGES = {
    "train": "#2f7fd1", "encode": "#d9641e", "decode": "#8a6fd1", "aggregate": "#1f9e77", "evaluate": "#7d8590",
    "broadcast": "#c69214",
}  # fmt: skip


def color(config: RunConfig) -> str:
    """A run's colour: its method's."""
    return methods[config.method].color or OTHER


def style(config: RunConfig) -> tuple[str, str, str]:
    """(colour, dash, marker) of a run's curve: a variant has its own dash, and its marker is hollow or dotted."""
    method = methods[config.method]
    variant = method.variant(config)
    return color(config), variant.dash, (method.marker or "circle") + variant.marker


def plain(text: str) -> str:
    """Text for a chart: Plotly reads a little HTML, and a run's name may be anybody's."""
    return escape(text, quote=False)
