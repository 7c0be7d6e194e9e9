"""One look for a method everywhere: its colour and its marker, given by the method or chosen here.

Our methods' colours were searched for under four kinds of vision so that any two stay apart, inside the band of
luminance that has a contrast of 3 to 1 on the light page and on the dark one. Each method has a marker of its own as
well, so that nothing depends on colour alone. A method that names no colour or marker gets one by the same rules.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Sequence
from html import escape
from itertools import product

import numpy as np

from deltamask.config import RunConfig
from deltamask.methods import methods
from deltamask.plots import color_vision
from deltamask.plots.swatch import MARKERS
from deltamask.studies.tasks import other_task

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
OTHER = "#7d8590"  # runs of another task than the others: grey
TURNS = ("solid", "dash", "dot")  # dashes, in turn for the runs of one method
GREYS = ("dash", "dot", "dashdot", "longdash", "longdashdot")
KINDS = ("", "-open", "-dot", "-open-dot")  # of markers, in turn for the runs of one method
APART = 0.045  # in OKLab: nearer colours are told apart by their dash
FAMILY = 1.0  # radians of hue to either side of a method's colour in which its runs' colours are looked for
COLORFUL = 0.1  # of OKLab's chroma: a run of the same task is never nearly grey
READABLE = (0.123, 0.297)  # the luminance of what has a contrast of 3 to 1 on both of the dashboard's pages

Look = tuple[str, str]  # (colour, marker)
Style = tuple[str, str, str]  # (colour, dash, marker)
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
    return _farthest(_readable(), taken)[0]


def _farthest(candidates: color_vision.Colors, taken: Collection[str]) -> tuple[str, float]:
    """(the candidate that is farthest from all of `taken`, how far it is)."""
    best, distance = 0, np.inf
    if taken:
        nearest = color_vision.distances(candidates, color_vision.rgb(list(taken))).min(axis=1)
        best, distance = int(nearest.argmax()), float(nearest.max())
    red, green, blue = candidates[best].astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}", distance


@functools.cache
def _readable() -> color_vision.Colors:
    candidates = np.array(list(product(range(0, 256, 8), repeat=3)), float)
    light = color_vision.luminance(candidates)
    return candidates[(light >= READABLE[0]) & (light <= READABLE[1])]


def color(config: RunConfig) -> str:
    """A run's colour: its method's."""
    return look(config.method)[0]


def style(config: RunConfig) -> tuple[str, str, str]:
    """(colour, dash, marker) of a run's curve: a variant has its own dash, and its marker is hollow or dotted."""
    color, marker = look(config.method)
    variant = methods[config.method].variant(config)
    return color, variant.dash, marker + variant.marker


def styles(configs: Sequence[RunConfig], *, focus: RunConfig | None = None) -> list[Style]:
    """(colour, dash, marker) of each run in view, in their order; no two of one task have the same colour and dash.

    Its method decides the family: the first run of a method has the method's own colour, others one of a hue near it
    that stays apart from all that are in view, and where there is none left, another hue. Within a family dashes and
    kinds of markers go in turn. Runs of another task than the focus (or without one, than the most) are grey, dashed.
    """
    others = other_task(configs, focus)
    given = tuple(None if other else config.method for config, other in zip(configs, others, strict=True))
    own = {method: look(method)[0] for method in dict.fromkeys(given) if method}
    colors = _family_colors(given, tuple(own.items()))
    found, counts = list[Style](), dict[str | None, int]()
    for config, method, color in zip(configs, given, colors, strict=True):
        at = counts.get(method, 0)
        counts[method] = at + 1
        dash = TURNS[at % len(TURNS)] if method else GREYS[at % len(GREYS)]
        found.append((color, dash, look(config.method)[1] + (KINDS[at % len(KINDS)] if method else "-open")))
    return found


@functools.lru_cache(maxsize=256)
def _family_colors(given: tuple[str | None, ...], own: tuple[tuple[str, str], ...]) -> list[str]:
    """A colour for each run, given its method, or None for grey; own: the methods' colours."""
    base, taken, colors = dict(own), [*dict(own).values()], list[str]()
    seen: set[str] = set()
    if None in given:
        taken.append(OTHER)
    for method in given:
        if method is None:
            colors.append(OTHER)
        elif method not in seen:
            colors.append(base[method])
            seen.add(method)
        else:
            color, distance = _farthest(_colorful(base[method]), taken)
            if distance < APART:
                color, _ = _farthest(_colorful(None), taken)
            colors.append(color)
            taken.append(color)
    return colors


@functools.lru_cache(maxsize=64)
def _colorful(near: str | None) -> color_vision.Colors:
    """The readable colours that are not nearly grey; those whose hue is near that of a colour, if one is given."""
    candidates = _readable()
    lab = color_vision.seen(candidates)[0]
    wanted = np.hypot(lab[:, 1], lab[:, 2]) > COLORFUL
    if near:
        mine = color_vision.seen(color_vision.rgb([near]))[0, 0]
        turn = np.arctan2(lab[:, 2], lab[:, 1]) - np.arctan2(mine[2], mine[1])
        wanted &= np.abs((turn + np.pi) % (2 * np.pi) - np.pi) <= FAMILY
    return candidates[wanted]


def plain(text: str) -> str:
    """Text for a chart, where a run's name may be anybody's: Plotly reads a little HTML, and `%{x}` as a value."""
    return escape(text, quote=False).replace("%{", "%&#123;")
