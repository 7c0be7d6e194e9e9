"""Payloads as pictures: a PNG as it was sent, anything else with one pixel a byte. Needs no plotly and no dashboard."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from deltamask.runs.payloads import Payload
from deltamask.runs.reader import Run

MOST_INFLATED = 9  # pixels a byte of the file: ours are Huffman-coded only and stay below; more may be a bomb
DRAWN = 480  # pixels a side, at most, of what is drawn


@dataclass(frozen=True)
class Picture:
    """A payload drawn. sent: its bytes. width, height: of the whole picture. side: of its drawing, in screen pixels.

    png: what to show. as_sent: these very bytes crossed the wire. thinned: only every so many-th pixel is in it.
    """

    name: str
    sent: int
    width: int
    height: int
    png: bytes
    as_sent: bool
    thinned: int
    side: int = 0


@functools.lru_cache(maxsize=128)
def draw(payload: Payload) -> Picture:
    """A kept payload. A PNG that is not one of ours is drawn byte by byte, like whatever is not a PNG.

    Raises StoreError if its bytes cannot be read.
    """
    data = payload.read()
    if payload.suffix == ".png" and (pixels := _pixels(data)) is not None:
        height, width = pixels.shape
        if max(width, height) <= DRAWN:
            return Picture(payload.name, len(data), width, height, data, True, 1)
        return _thinned(payload.name, len(data), pixels)
    width = math.isqrt(max(0, len(data) - 1)) + 1
    height = max(1, -(-len(data) // width))
    padded = np.frombuffer(data.ljust(width * height, b"\0"), np.uint8)
    return _thinned(payload.name, len(data), padded.reshape(height, width))


def _pixels(data: bytes) -> npt.NDArray[np.uint8] | None:
    """(height, width) of a grayscale PNG, or None if it is none or could not be one of ours."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            if picture.mode != "L" or picture.width * picture.height > MOST_INFLATED * len(data):
                return None
            return np.asarray(picture)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def _thinned(name: str, sent: int, pixels: npt.NDArray[np.uint8]) -> Picture:
    height, width = pixels.shape
    step = -(-max(width, height) // DRAWN)
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels[::step, ::step])).save(out, "PNG")
    return Picture(name, sent, width, height, out.getvalue(), False, step)


def first_message(run: Run, round: int) -> Picture | None:
    """What the first client sent in a round, or None if that was not kept. StoreError if it cannot be read."""
    payloads = run.payloads(round)
    return draw(payloads[0]) if payloads else None


def to_scale(named: Sequence[tuple[str, Picture]], side: int = 240) -> list[Picture]:
    """Pictures under new names, all at one scale: the largest is `side` screen pixels wide, and area is bytes."""
    widest = max((picture.width for _, picture in named), default=1)
    scale = side / widest
    return [replace(picture, name=name, side=max(3, round(picture.width * scale))) for name, picture in named]
