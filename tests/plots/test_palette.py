"""One fixed look for a method, which everybody can tell apart and read."""

from __future__ import annotations

import tomllib
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from deltamask.config import RunConfig
from deltamask.methods import methods
from deltamask.plots import palette
from deltamask.studies.labels import config_label

THEME = tomllib.loads((Path(__file__).resolve().parents[2] / "app" / ".streamlit" / "config.toml").read_text())["theme"]
PAGES = [THEME[scheme]["backgroundColor"] for scheme in ("light", "dark")]  # what charts are drawn on
COLORS = {name: str(methods[name].color) for name in methods}
# What dichromats see (Machado, Oliveira and Fernandes 2009, severity 1), on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
Triple = npt.NDArray[np.float64]


def linear(color: str) -> Triple:
    """#rrggbb to linear RGB in [0, 1]."""
    part = np.array([int(color[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """WCAG 2's contrast ratio."""
    luminance = sorted(float(linear(color) @ [0.2126, 0.7152, 0.0722]) + 0.05 for color in (one, other))
    return luminance[1] / luminance[0]


def oklab(rgb: Triple) -> Triple:
    """Björn Ottosson's OKLab, in which distances are as large as they look."""
    cone = [
        [0.41222147, 0.53633254, 0.05144599],
        [0.21190350, 0.68069955, 0.10739696],
        [0.08830246, 0.28171884, 0.62997870],
    ]
    lab = [
        [0.21045426, 0.79361779, -0.00407205],
        [1.97799850, -2.42859220, 0.45059371],
        [0.02590404, 0.78277177, -0.80867577],
    ]
    return np.cbrt(np.clip(rgb @ np.transpose(cone), 0, None)) @ np.transpose(lab)


def test_contrast_of_black_and_white() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


def test_every_method_has_a_look_of_its_own() -> None:
    looks = [(entry.label, entry.color, entry.marker) for entry in map(methods.get, methods)]
    for values in zip(*looks, strict=True):
        assert len(set(values)) == len(methods)
    assert all(all(look) for look in looks)


@pytest.mark.parametrize("page", PAGES)
def test_lines_and_marks_stand_out_from_the_page(page: str) -> None:
    """WCAG 1.4.11: 3 to 1 for what one must see to understand a graphic."""
    for name, color in COLORS.items():
        assert contrast(color, page) >= 3, (name, color, page, contrast(color, page))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_buttons_can_be_read(scheme: str) -> None:
    """WCAG 1.4.3: 4.5 to 1 for text."""
    theme = {**THEME, **THEME[scheme]}
    for page in ("backgroundColor", "secondaryBackgroundColor"):
        assert contrast(theme["textColor"], theme[page]) >= 4.5
    assert contrast("#ffffff", theme["primaryColor"]) >= 4.5  # the words on a button


@pytest.mark.parametrize("vision", VISION)
def test_colours_stay_apart_whoever_looks(vision: str) -> None:
    seen = {name: oklab(np.clip(linear(color) @ np.transpose(VISION[vision]), 0, 1)) for name, color in COLORS.items()}
    for one, other in combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) >= 0.055, (one, other)


def test_variants_of_deltamask_look_different() -> None:
    configs = [
        RunConfig(noise=noise, aggregation=kind) for noise in ("shared", "per_client") for kind in ("beta", "unbiased")
    ]
    configs.append(RunConfig(codec="gap"))
    looks = [palette.style(config) for config in configs]
    assert {color for color, *_ in looks} == {COLORS["deltamask"]}
    assert len({dash for _, dash, _ in looks}) == len(looks)
    assert len({config_label(config) for config in configs}) == len(configs)
