"""A piece of a curve as a small picture, for legends that stand outside a chart."""

from __future__ import annotations

# Plotly's names of the markers that can be drawn here, as paths in a box of 30 × 12 with its middle at (15, 6).
MARKERS = {
    "circle": "M11 6a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "square": "M11 2h8v8h-8z",
    "diamond": "M15 1l5 5-5 5-5-5z",
    "triangle-up": "M15 1l5 9H10z",
    "star": "M15 0l1.5 4.2h4.4l-3.5 2.7 1.3 4.3-3.7-2.6-3.7 2.6 1.3-4.3L9.1 4.200h4.4z",
    "hexagon": "M11 2h8l3 4-3 4h-8l-3-4z",
    "cross": "M13 1h4v3h3v4h-3v3h-4V8h-3V4h3z",
    "x": "M10 3l2-2 3 3 3-3 2 2-3 3 3 3-2 2-3-3-3 3-2-2 3-3z",
    "triangle-down": "M15 11l5-9H10z",
    "pentagon": "M15 1l5 4-2 6h-6l-2-6z",
    "triangle-left": "M10 6l9-5v10z",
    "triangle-right": "M20 6l-9-5v10z",
    "diamond-tall": "M15 0l3.5 6-3.5 6-3.5-6z",
    "diamond-wide": "M15 2.500l7 3.5-7 3.5-7-3.500z",
    "hexagram": "M15 0l1.7 3H20l-1.7 3L20 9h-3.300L15 12l-1.7-3H10l1.7-3L10 3h3.300z",
    "star-diamond": "M15 0l1.5 4.500L21 6l-4.5 1.500L15 12l-1.5-4.500L9 6l4.5-1.500z",
    "star-square": "M10 1l5 2.500L20 1l-2.5 5L20 11l-5-2.5-5 2.5 2.5-5z",
    "hourglass": "M10 1h10l-4 5 4 5H10l4-5z",
}
# Plotly's names of dashes, as SVG wants them.
DASHES = {
    "solid": "", "dot": "2 3", "dash": "6 3", "dashdot": "6 3 2 3", "longdash": "9 3", "longdashdot": "9 3 2 3",
}  # fmt: skip


def swatch(color: str, dash: str, marker: str) -> str:
    """An SVG of 30 × 12 pixels: a line with a marker on it.

    color: #rrggbb. dash: one of `DASHES`. marker: one of `MARKERS`, with `-open`, `-dot` or `-open-dot` behind it. What
    is none of them is drawn as a plain line, or as a circle.
    """
    shape = marker.removesuffix("-dot").removesuffix("-open")
    hollow = "-open" in marker
    dot = f'<circle cx="15" cy="6" r="1.3" fill="{color if hollow else "white"}"/>' if marker.endswith("-dot") else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="30" height="12"><path d="M0 6h30" stroke="{color}" '
        f'stroke-width="2" stroke-dasharray="{DASHES.get(dash, "")}"/><path stroke="{color}" stroke-width="1.5" '
        f'fill="{"none" if hollow else color}" d="{MARKERS.get(shape, MARKERS["circle"])}"/>{dot}</svg>'
    )
