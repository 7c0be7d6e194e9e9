"""One look for a method everywhere: its colour and its marker, given by the method or chosen here.

Our methods' colours were searched for under four kinds of vision so that any two stay apart, inside the band of
luminance that has a contrast of 3 to 1 on the light page and on the dark one. Each method has a marker of its own as
well, so that nothing depends on colour alone. A method that names no colour or marker gets one by the same rules.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection
from html import escape
from itertools import product

import numpy as np

from deltamask.config import RunConfig
from deltamask.methods import methods
from deltamask.plots import color_vision
from deltamask.plots.swatch import MARKERS

# What a round is made of, and what its bits are measured against.
FLIPS, KEPT, FALSE_FLIPS = "#2f7fd1", "#1f9e77", "#d9641e"
BOUND_IID, BOUND_SIDE = "#8a6fd1", "#1f9e77"
STAGES = {
    "train": "#2f7fd1", "encode": "#d9641e", "decode": "#8a6fd1", "aggregate": "#1f9e77", "evaluate": "#7d8590",
    "broadcast": "#c69214",
}  # fmt: skip
SAMPLES = "#2f7fd1"
# What a client gets from the server model, from that with its own label shares added, and from a model of its own.
JOINED, ADAPTED, ALONE = "#2f7fd1", "#1f9e77", "#d9641e"
READABLE = (0.123, 0.297)  # the luminance of what has a contrast of 3 to 1 on both of the dashboard's pages

Look = tuple[str, str]  # (colour, marker)
Given = tuple[str, str | None, str | None]  # a method's name, and what it says of its look


def look(method: str) -> Look:
    """(colour, marker) of a registered method. KeyError for one that is not.

    Given ones are taken as they are; a colour that is no #rrggbb, and a marker that no legend can draw, count as not
    given. What is chosen depends on which methods are registered, not on their order.
    """
    methods.get(method)  # an error that lists what there is
    return _looks(tuple(sorted((name, methods[name].color, methods[name].marker) for name in methods)))[method]


@functools.lru_cache(maxsize=8)
def _looks(given: tuple[Given, ...]) -> dict[str, Look]:
    colors = {name: color for name, color, _ in given if color and re.fullmatch("#[0-9a-fA-F]{6}", color)}
    markers = {name: marker for name, _, marker in given if marker and marker in MARKERS}
    for name, *_ in given:
        if name not in colors:
            colors[name] = farthest_color(colors.values())
        if name not in markers:
            free = [marker for marker in MARKERS if marker not in markers.values()]
            markers[name] = free[0] if free else list(MARKERS)[len(markers) % len(MARKERS)]
    return {name: (colors[name], markers[name]) for name, *_ in given}


def farthest_color(taken: Collection[str]) -> str:
    """The readable colour that looks least like any of `taken` to whoever tells them apart worst; all as #rrggbb."""
    candidates = np.array(list(product(range(0, 256, 8), repeat=3)), float)
    light = color_vision.luminance(candidates)
    candidates = candidates[(light >= READABLE[0]) & (light <= READABLE[1])]
    best = 0
    if taken:
        best = int(color_vision.distances(candidates, color_vision.rgb(list(taken))).min(axis=1).argmax())
    red, green, blue = candidates[best].astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}"


def color(config: RunConfig) -> str:
    """A run's colour: its method's."""
    return look(config.method)[0]


def style(config: RunConfig) -> tuple[str, str, str]:
    """(colour, dash, marker) of a run's curve: a variant has its own dash, and its marker is hollow or dotted."""
    color, marker = look(config.method)
    variant = methods[config.method].variant(config)
    return color, variant.dash, marker + variant.marker


def plain(text: str) -> str:
    """Text for a chart, where a run's name may be anybody's: Plotly reads a little HTML, and `%{x}` as a value."""
    return escape(text, quote=False).replace("%{", "%&#123;")
