"""One look for a method everywhere: its colour, its marker, its name in legends.

Colours were searched for under four kinds of vision (normal, protan, deutan, tritan; Machado et al. 2009) so that any
two stay apart, inside the band of luminance that has a contrast of 3 to 1 on the light page and on the dark one. Each
method has a marker of its own as well, so that nothing depends on colour alone. Variants of one method differ in dash.
"""

from __future__ import annotations

from html import escape

from deltamask.config import RunConfig

METHOD_COLORS = {
    "deltamask": "#2f7fd1",
    "fedpm": "#d9641e",
    "deepreduce": "#287a58",
    "fedmask": "#ab5322",
    "finetune": "#d8185f",
    "lora": "#02a0c1",
    "eden": "#a308fb",
    "drive": "#b26efb",
    "qsgd": "#7d67a4",
    "signsgd": "#b6856c",
    "linear-probe": "#7d8590",
}
METHOD_MARKERS = {
    "deltamask": "circle",
    "fedpm": "square",
    "deepreduce": "diamond",
    "fedmask": "triangle-up",
    "finetune": "star",
    "lora": "hexagon",
    "eden": "cross",
    "drive": "x",
    "qsgd": "triangle-down",
    "signsgd": "pentagon",
    "linear-probe": "hourglass",
}
OTHER = "#7d8590"  # a method that nobody has given a colour
# What a round is made of, and what its bits are measured against.
FLIPS, KEPT, FALSE_FLIPS = "#2f7fd1", "#1f9e77", "#d9641e"
BOUND_IID, BOUND_SIDE = "#8a6fd1", "#1f9e77"
STAGES = {
    "train": "#2f7fd1", "encode": "#d9641e", "decode": "#8a6fd1", "aggregate": "#1f9e77", "evaluate": "#7d8590",
    "broadcast": "#c69214",
}  # fmt: skip

VARIANTS = {
    ("shared", "beta"): ("dot", "-open"),
    ("per_client", "beta"): ("solid", ""),
    ("per_client", "unbiased"): ("dash", "-dot"),
    ("shared", "unbiased"): ("dashdot", "-open"),
}


def color(config: RunConfig) -> str:
    return METHOD_COLORS.get(config.method, OTHER)


def style(config: RunConfig) -> tuple[str, str, str]:
    """(colour, dash, marker) of a run's curve: a variant has its own dash, and its marker is hollow or dotted."""
    dash, marker = "solid", METHOD_MARKERS.get(config.method, "circle")
    if config.method == "deltamask":
        dash, kind = VARIANTS[config.noise, config.aggregation]
        marker += kind
        if config.codec != RunConfig.model_fields["codec"].default:
            dash, marker = "longdashdot", "circle-open-dot"
    return color(config), dash, marker


def plain(text: str) -> str:
    """Text for a chart: Plotly reads a little HTML, and a run's name may be anybody's."""
    return escape(text, quote=False)
