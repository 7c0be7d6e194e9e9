"""How far apart colours look, to people with each kind of colour vision, and how well they stand out from a page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from plotly.colors import hex_to_rgb

Colors = npt.NDArray[np.float64]  # (..., 3)

# What dichromats see, on linear RGB: Machado, Oliveira and Fernandes 2009, severity 1.
VISION = {
    "normal": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
LUMINANCE = (0.2126, 0.7152, 0.0722)  # of linear RGB
# Björn Ottosson's OKLab (2020), in which distances are as large as they look: linear RGB to cones, cones to Lab.
CONES = (
    (0.41222147, 0.53633254, 0.05144599),
    (0.21190350, 0.68069955, 0.10739696),
    (0.08830246, 0.28171884, 0.62997870),
)
LAB = (
    (0.21045426, 0.79361779, -0.00407205),
    (1.97799850, -2.42859220, 0.45059371),
    (0.02590404, 0.78277177, -0.80867577),
)


def rgb(colors: Sequence[str]) -> Colors:
    """(n, 3) values in [0, 255] of colours as #rrggbb."""
    return np.array([hex_to_rgb(color) for color in colors], float).reshape(-1, 3)


def linear(rgb: Colors) -> Colors:
    """Values of sRGB in [0, 255] as linear RGB in [0, 1]."""
    part = rgb / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def luminance(rgb: Colors) -> npt.NDArray[np.float64]:
    """WCAG 2's relative luminance in [0, 1] of values in [0, 255]."""
    return linear(rgb) @ LUMINANCE


def contrast(color: str, other: str) -> float:
    """WCAG 2's contrast ratio of two colours as #rrggbb, from 1 to 21."""
    low, high = sorted(luminance(rgb([color, other])) + 0.05)
    return float(high / low)


def seen(rgb: Colors) -> Colors:
    """(kinds of vision, n, 3): the OKLab coordinates of (n, 3) values in [0, 255], as each kind of vision sees them."""
    reached = [np.clip(linear(rgb) @ np.transpose(vision), 0, 1) for vision in VISION.values()]
    return np.stack([np.cbrt(each @ np.transpose(CONES)) @ np.transpose(LAB) for each in reached])


def distances(rgb: Colors, others: Colors) -> npt.NDArray[np.float64]:
    """(n, m): how far each of n colours looks from each of m others to whoever tells them apart worst."""
    between = seen(rgb)[:, :, None] - seen(others)[:, None]
    return np.linalg.norm(between, axis=-1).min(axis=0)
