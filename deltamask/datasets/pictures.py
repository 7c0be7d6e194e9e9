"""The pixels of one image file: upright, three channels of eight bits, in no more memory than is needed.

- The first picture is taken where a file holds several.
- More than eight bits are scaled, never cut off at white. 16-bit pictures by their type: 0 to 65,535 become 0 to 255.
  32-bit and float pictures by their range, since their type says nothing: the first of 0–1 (floats), 0–255 and 0–65,535
  that holds all of a picture's values, or else from its least value to its greatest.
- What is transparent is laid on white.
- Where only part of the pixels is needed, of a JPEG fewer are decoded, and of others the mean of whole blocks is taken;
  of a picture that is much longer than it is wide, the middle.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import math
import threading
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deltamask.datasets.spec import Images

# Photographs and scans. What else Pillow opens (PostScript, films, weather maps) is not asked for.
FORMATS = (
    "AVIF", "BMP", "DIB", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "QOI", "SGI", "TGA", "TIFF",
    "WEBP",
)  # fmt: skip
LONGEST = 3  # times the short side: what lies beyond cannot be in the square that is cut from the middle
STRIP = 1 << 22  # pixels that are converted at a time
LARGE = 1 << 24  # pixels: of pictures beyond, one at a time is in memory
ORIENTATION = 0x0112  # EXIF tag

_one_large = threading.Lock()


@functools.cache
def _pillow() -> types.ModuleType:
    """PIL.Image with all its plugins, and HEIC's if that package is installed."""
    from PIL import Image

    Image.init()
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of torn EXIF and large pictures, without the file's name
    if importlib.util.find_spec("pillow_heif"):
        importlib.import_module("pillow_heif").register_heif_opener()
    return Image


@functools.cache
def suffixes() -> frozenset[str]:
    """The endings of image files that can be read here, in lower case."""
    image = _pillow()
    readable = {*image.OPEN, "MPO"} & set(FORMATS)
    return frozenset(end for end, kind in image.registered_extensions().items() if kind in readable)


def read_picture(path: Path, short_side: int = 0) -> Images:
    """(height, width, 3). short_side: pixels that are enough, and only of the middle; 0: all there are.

    Raises whatever the libraries raise for a file that they cannot read.
    """
    image_module = _pillow()
    formats = [kind for kind in FORMATS if kind in image_module.OPEN]
    with image_module.open(path, formats=formats) as image:
        whole = image.size
        if short_side:
            image.draft(None, (short_side, short_side))
        with _one_large if math.prod(image.size) > LARGE else contextlib.nullcontext():
            image.load()
            scale = min(image.size) // short_side if short_side and sorted(image.size) == sorted(whole) else 1
            pixels = _pixels(image, middle(*image.size) if short_side else (0, 0, *image.size), max(1, scale))
        return _upright(pixels, image)


def middle(width: int, height: int) -> tuple[int, int, int, int]:
    """The box that is left of a picture when its long side is cut to LONGEST times the short one."""
    keep = LONGEST * min(width, height)
    left, top = max(0, (width - keep) // 2), max(0, (height - keep) // 2)
    return left, top, left + min(width, keep), top + min(height, keep)


def _pixels(image: Any, box: tuple[int, int, int, int], scale: int) -> Images:
    """The box, each `scale` × `scale` pixels made one, strip by strip."""
    deep = image.mode[0] in "IF"
    span = _span(image, box) if deep else (0.0, 0.0)
    parts = []
    for strip in _strips(image, box, scale):
        small = _levels(strip, span) if deep else _on_white(strip)
        parts.append(np.asarray(small.reduce(scale) if scale > 1 else small))
    pixels = np.concatenate(parts) if len(parts) > 1 else parts[0]
    return np.ascontiguousarray(pixels)


def _strips(image: Any, box: tuple[int, int, int, int], scale: int) -> Iterator[Any]:
    left, top, right, bottom = box
    rows = max(1, STRIP // (right - left) // scale) * scale
    for start in range(top, bottom, rows):
        yield image.crop((left, start, right, min(start + rows, bottom)))


def _span(image: Any, box: tuple[int, int, int, int]) -> tuple[float, float]:
    """The values that become 0 and 255."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return 0.0, 65535.0
    low, high = math.inf, -math.inf
    for strip in _strips(image, box, 1):
        values = np.asarray(strip)
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        if not np.isfinite(values).all():
            raise ValueError("its pixels hold NaN or infinity")
    return value_span(low, high, whole=image.mode != "F")


def value_span(low: float, high: float, *, whole: bool) -> tuple[float, float]:
    """The range that values from `low` to `high` are scaled from. whole: they are whole numbers."""
    if low >= 0:
        for limit in (255.0, 65535.0) if whole else (1.0, 255.0, 65535.0):
            if high <= limit:
                return 0.0, limit
    return low, high


def to_bytes(values: npt.NDArray[Any], span: tuple[float, float]) -> Images:
    """Values from span's first to its second as 0 to 255, rounded."""
    low, high = span
    scaled = (values.astype(np.float64) - low) * (255.0 / ((high - low) or 1.0))
    return np.rint(scaled).astype(np.uint8)


def _levels(image: Any, span: tuple[float, float]) -> Any:
    return _pillow().fromarray(to_bytes(np.asarray(image), span)).convert("RGB")


def _on_white(image: Any) -> Any:
    if not image.has_transparency_data:
        return image.convert("RGB")
    module = _pillow()
    picture = image.convert("RGBA")
    return module.alpha_composite(module.new("RGBA", picture.size, "white"), picture).convert("RGB")


def _upright(pixels: Images, image: Any) -> Images:
    """Turned as the camera noted. A note that cannot be read is none."""
    try:
        turn = image.getexif().get(ORIENTATION, 1)
    except Exception:  # the picture is whole, whatever stands beside it
        return pixels
    transpose = _pillow().Transpose
    how = {
        2: transpose.FLIP_LEFT_RIGHT, 3: transpose.ROTATE_180, 4: transpose.FLIP_TOP_BOTTOM, 5: transpose.TRANSPOSE,
        6: transpose.ROTATE_270, 7: transpose.TRANSVERSE, 8: transpose.ROTATE_90,
    }.get(turn)  # fmt: skip
    return pixels if how is None else np.asarray(_pillow().fromarray(pixels).transpose(how))
