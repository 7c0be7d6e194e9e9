"""A look for each method, given or chosen, which everybody can tell apart and read."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest

from deltamask.config import RunConfig
from deltamask.methods import methods
from deltamask.plots import palette, swatch
from deltamask.plots.color_vision import contrast, distances, rgb, seen
from deltamask.studies import views
from deltamask.studies.comparison import group_by_seed
from deltamask.studies.labels import config_label
from tests.studies.test_views import measured

APP = Path(__file__).resolve().parents[2] / "app"
THEME = tomllib.loads((APP / ".streamlit" / "config.toml").read_text())["theme"]
PAGES = [THEME[scheme]["backgroundColor"] for scheme in ("light", "dark")]  # what charts are drawn on
APART = 0.048  # in OKLab, to whoever tells two colours apart worst; 17 colours fit no further apart beside ours


@pytest.fixture
def toys() -> Iterator[list[str]]:
    """Two registered methods that say nothing of their look, in an order that is not that of their names."""
    names = ["toy-b", "toy-a"]
    for name in names:
        methods.register(name)(replace(methods["fedpm"], label=name, color=None, marker=None))
    yield names
    for name in names:
        del methods._entries[name]


def looks() -> dict[str, palette.Look]:
    return {name: palette.look(name) for name in methods}


def nearest(colors: list[str]) -> float:
    """The smallest distance between two of these colours."""
    between = distances(rgb(colors), rgb(colors))
    return float(between[~np.eye(len(colors), dtype=bool)].min())


def test_contrast_of_black_and_white() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def test_oklab_of_published_colours() -> None:
    """Ottosson's own table has red at (0.628, 0.225, 0.126); white stays white whatever cones one lacks."""
    assert seen(rgb(["#ff0000"]))[0, 0] == pytest.approx([0.62796, 0.22486, 0.12585], abs=1e-4)
    assert seen(rgb(["#ffffff"]))[:, 0] == pytest.approx(np.array([[1, 0, 0]] * 4), abs=2e-3)


def test_a_red_and_a_green_are_near_for_some() -> None:
    red, green = rgb(["#d04000"]), rgb(["#808000"])
    each = np.linalg.norm(seen(red) - seen(green), axis=-1)[:, 0]
    assert each[0] > 0.15  # normal vision
    assert distances(red, green)[0, 0] == each.min() < 0.5 * each[0]


def test_our_methods_give_their_looks_and_keep_them(toys: list[str]) -> None:
    given = {name: (method.color, method.marker) for name in methods if (method := methods[name]).color}
    assert given == {name: palette.look(name) for name in given}
    assert {"deltamask", "fedpm"} <= given.keys()
    assert not given.keys() & set(toys)


def test_no_two_methods_look_the_same() -> None:
    for values in zip(*looks().values(), strict=True):
        assert len(set(values)) == len(methods)
    assert len({methods[name].label for name in methods}) == len(methods)


@pytest.mark.usefixtures("toys")
def test_chosen_looks_keep_their_distance() -> None:
    colors, markers = (list(values) for values in zip(*looks().values(), strict=True))
    assert nearest(colors) >= APART
    assert len(set(markers)) == len(markers)
    for color in colors:
        assert min(contrast(color, page) for page in PAGES) >= 3, color  # WCAG 1.4.11: what a graphic is made of


def test_chosen_looks_do_not_depend_on_the_order_of_registration(toys: list[str]) -> None:
    before = looks()
    for name in reversed(toys):
        methods._entries[name] = methods._entries.pop(name)
    assert looks() == before


def test_what_no_legend_can_draw_counts_as_not_given(toys: list[str]) -> None:
    methods._entries["toy-a"] = replace(methods["toy-a"], color="<b>red</b>", marker="arrow")
    color, marker = palette.look("toy-a")
    assert color.startswith("#")
    assert marker in swatch.MARKERS


def test_more_methods_than_markers_still_have_a_look() -> None:
    given = tuple((f"m{number:02}", "#2f7fd1", None) for number in range(len(swatch.MARKERS) + 2))
    markers = [marker for _, marker in palette._looks(given).values()]
    assert markers == [*swatch.MARKERS, *list(swatch.MARKERS)[:2]]


@pytest.mark.parametrize("suffix", ["", "-open", "-dot", "-open-dot"])
def test_plotly_knows_every_marker(suffix: str) -> None:
    for marker in swatch.MARKERS:
        if marker != "hourglass" or "dot" not in suffix:  # the only one that Plotly draws without a dot
            go.Scatter(marker={"symbol": marker + suffix})  # ValueError if not


def test_swatches_of_all_looks_differ() -> None:
    drawn = {swatch.swatch("#2f7fd1", dash, marker + kind) for dash in swatch.DASHES for marker in swatch.MARKERS
             for kind in ("", "-open", "-dot", "-open-dot")}  # fmt: skip
    assert len(drawn) == len(swatch.DASHES) * len(swatch.MARKERS) * 4


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_buttons_can_be_read(scheme: str) -> None:
    """WCAG 1.4.3: 4.5 to 1 for text."""
    theme = {**THEME, **THEME[scheme]}
    for page in ("backgroundColor", "secondaryBackgroundColor"):
        assert contrast(theme["textColor"], theme[page]) >= 4.5
    assert contrast("#ffffff", theme["primaryColor"]) >= 4.5  # the words on a button


def test_variants_of_deltamask_look_different() -> None:
    configs = [
        RunConfig(noise=noise, aggregation=kind) for noise in ("shared", "per_client") for kind in ("beta", "unbiased")
    ]
    configs.append(RunConfig(codec="gap"))
    styles = [palette.style(config) for config in configs]
    assert {color for color, *_ in styles} == {methods["deltamask"].color}
    assert len({dash for _, dash, _ in styles}) == len(styles)
    assert len({config_label(config) for config in configs}) == len(configs)


@pytest.mark.parametrize("view", views.names())
def test_no_two_runs_of_a_prepared_view_look_the_same(view: str) -> None:
    """Nor are their colours alike to anybody, and each can be seen on both pages."""
    configs = [group.config for group in group_by_seed(views.prepared(view, measured()))]
    styles = palette.styles(configs)
    assert len({(color, dash) for color, dash, _ in styles}) == len(configs)
    colors = [color for color, *_ in styles]
    assert nearest(colors) >= palette.APART
    assert min(contrast(color, page) for color in colors for page in PAGES) >= 3
    firsts = {config.method: color for config, color in reversed(list(zip(configs, colors, strict=True)))}
    assert firsts == {method: palette.look(method)[0] for method in firsts}  # the method decides the family


def test_a_run_keeps_its_look_when_others_come_after_it() -> None:
    configs = [RunConfig(kappa=kappa) for kappa in (1.0, 0.5, 0.2, 0.1)]
    assert palette.styles(configs)[:3] == palette.styles(configs[:3])


def test_runs_of_another_task_are_grey_and_dashed() -> None:
    styles = palette.styles([RunConfig(), RunConfig(dirichlet_alpha=0.1)], focus=RunConfig())
    assert styles[0][:2] == (palette.look("deltamask")[0], "solid")
    assert styles[1][0] == palette.OTHER
    assert styles[1][1] != "solid"


def test_texts_of_charts_can_be_read() -> None:
    """WCAG 1.4.3: 4.5 to 1, on the page of each theme."""
    texts = dict(re.findall(r'"(light|dark)": "(#[0-9a-f]{6})"', (APP / "ui" / "figures.py").read_text()))
    for scheme, page in zip(("light", "dark"), PAGES, strict=True):
        assert contrast(texts[scheme], page) >= 4.5
