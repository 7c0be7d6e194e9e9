"""One image file to pixels: every mode, any depth, whatever stands in the file, and never more memory than needed."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from deltamask.datasets import BrokenImage, ImageFiles
from deltamask.datasets.pictures import read_picture, suffixes, to_bytes, value_span

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def decode(path: Path, short_side: int = 0) -> np.ndarray:
    return ImageFiles(path.parent, (path.name,)).decode(0, short_side)


def saved(path: Path, pixels: np.ndarray, **options: Any) -> np.ndarray:
    """What is read of these pixels' file."""
    Image.fromarray(pixels).save(path, **options)
    return decode(path)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"])
def test_every_kind_of_image_becomes_three_channels(mode: str, tmp_path: Path) -> None:
    ending = {"CMYK": "jpg", "YCbCr": "jpg", "F": "tif", "I": "tif"}.get(mode, "png")
    path = tmp_path / f"a.{ending}"
    Image.new(mode, (5, 4)).save(path)
    image = decode(path)
    assert (image.shape, image.dtype) == ((4, 5, 3), np.uint8)


# Depth


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_sixteen_bits_are_scaled_by_their_type(ending: str, tmp_path: Path) -> None:
    deep = RAMP.astype(np.uint16) * 257
    np.testing.assert_array_equal(saved(tmp_path / f"a.{ending}", deep)[..., 0], RAMP)
    dim = saved(tmp_path / f"b.{ending}", np.full((4, 4), 1000, np.uint16))
    assert np.unique(dim).tolist() == [4]  # 1000 / 257: as dark as it is beside the others


@pytest.mark.parametrize("kind", [np.int32, np.float32])
@pytest.mark.parametrize("high", [255, 65535, 1_000_000])
def test_more_bits_are_scaled_by_the_range_that_holds_them(kind: Any, high: int, tmp_path: Path) -> None:
    values = np.linspace(0, high, 256).reshape(16, 16)
    image = saved(tmp_path / "a.tif", values.astype(kind))
    assert np.abs(image[..., 0].astype(int) - RAMP).max() <= 1


def test_floats_from_zero_to_one_are_shares(tmp_path: Path) -> None:
    np.testing.assert_array_equal(saved(tmp_path / "a.tif", RAMP.astype(np.float32) / 255)[..., 0], RAMP)
    half = saved(tmp_path / "b.tif", np.full((4, 4), 0.5, np.float32))
    assert np.unique(half).tolist() == [128]


def test_values_below_zero_are_scaled_from_the_least_to_the_greatest(tmp_path: Path) -> None:
    image = saved(tmp_path / "a.tif", np.linspace(-1, 1, 256, dtype=np.float32).reshape(16, 16))
    np.testing.assert_array_equal(image[..., 0], RAMP)


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.booleans())
def test_nothing_is_cut_off_and_order_stays(one: float, other: float, whole: bool) -> None:
    low, high = sorted((round(one), round(other)) if whole else (one, other))
    span = value_span(low, high, whole=whole)
    assert span[0] <= low <= high <= span[1]
    scaled = to_bytes(np.linspace(low, high, 50), span)
    assert (np.diff(scaled.astype(int)) >= 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_picture_that_is_not_finite_says_so(value: float, tmp_path: Path) -> None:
    pixels = np.zeros((8, 8), np.float32)
    pixels[3, 4] = value
    with pytest.raises(BrokenImage, match=r"a\.tif: no image that can be read \(its pixels hold NaN or infinity\)"):
        saved(tmp_path / "a.tif", pixels)


# Transparency


def test_what_is_transparent_is_laid_on_white(tmp_path: Path) -> None:
    """Whatever colour stands behind it; half of it, half white."""
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0, :, 3] = 0, 128, 255
    colour = saved(tmp_path / "a.png", pixels)[0, :, 0].tolist()
    assert colour == [255, 127, 0]
    gray = Image.fromarray(pixels).convert("LA")
    gray.save(tmp_path / "b.png")
    assert decode(tmp_path / "b.png")[0, :, 0].tolist() == [255, 127, 0]


@pytest.mark.parametrize("mode", ["P", "L", "RGB", "1"])
def test_a_colour_that_stands_for_transparent_becomes_white(mode: str, tmp_path: Path) -> None:
    image = Image.new(mode, (4, 2))
    image.save(tmp_path / "a.png", transparency=(0, 0, 0) if mode == "RGB" else 0)
    assert np.unique(decode(tmp_path / "a.png")).tolist() == [255]
    Image.new("P", (4, 2)).save(tmp_path / "a.gif", transparency=0)
    assert np.unique(decode(tmp_path / "a.gif")).tolist() == [255]


# Upright


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_a_photograph_is_turned_as_its_camera_noted(turn: int, ending: str, tmp_path: Path) -> None:
    quarters = np.zeros((24, 32, 3), np.uint8)
    quarters[:12, :16], quarters[:12, 16:], quarters[12:, :16] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    exif = Image.Exif()
    exif[274] = turn
    path = tmp_path / f"a.{ending}"
    Image.fromarray(quarters).save(path, exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(decode(path), expected)


def test_a_note_that_cannot_be_read_turns_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (8, 4)).save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 30)
    assert decode(tmp_path / "a.jpg").shape == (4, 8, 3)


# Whatever stands in the file


def written(kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(3).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    Image.fromarray(noise).save(file, kind, **options)
    return file.getvalue()


WHOLE = {
    **{kind.lower(): written(kind) for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA", "JPEG2000")},
    "tiff-lzw": written("TIFF", compression="tiff_lzw"),
    "jpeg-progressive": written("JPEG", progressive=True),
}


@pytest.mark.parametrize("kind", WHOLE)
@settings(max_examples=40)
@given(st.data())
def test_any_bytes_are_pixels_or_a_file_that_cannot_be_read(
    kind: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Torn anywhere, and any byte changed: never another error, and never an array of another form."""
    content = bytearray(WHOLE[kind][: data.draw(st.integers(0, len(WHOLE[kind])))])
    for _ in range(data.draw(st.integers(0, 3)) if content else 0):
        content[data.draw(st.integers(0, min(200, len(content)) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "any bytes"
    path.write_bytes(content)
    try:
        image = decode(path, data.draw(st.sampled_from([0, 8])))
    except BrokenImage as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3


@pytest.mark.parametrize(
    "error", [MemoryError(), RecursionError("too deep"), IndexError("list"), KeyError("k"), OverflowError("big")]
)
def test_whatever_a_library_raises_names_the_file(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png")

    def fail(*arguments: object, **named: object) -> None:
        raise error

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(BrokenImage, match=rf"{tmp_path}/a\.png: no image that can be read \(.+\)"):
        decode(tmp_path / "a.png")


@pytest.mark.parametrize("content", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n", b"\0" * 4096])
def test_a_file_that_only_calls_itself_a_photograph_is_not_run(content: bytes, tmp_path: Path) -> None:
    """PostScript would be given to another program."""
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(BrokenImage, match="cannot identify image file"):
        decode(tmp_path / "a.jpg")


def test_endings_are_those_that_can_be_read_here() -> None:
    assert {
        ".jpg",
        ".jpeg",
        ".jfif",
        ".jpe",
        ".png",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
    } <= suffixes()
    assert not {".eps", ".ps", ".pdf", ".mpg", ".svg"} & suffixes()


# Size


def test_a_large_photograph_is_decoded_no_larger_than_needed(tmp_path: Path) -> None:
    ramp = np.broadcast_to((np.arange(800) * 255 // 800)[:, None, None], (800, 600, 3)).astype(np.uint8)
    Image.fromarray(ramp).save(tmp_path / "a.jpg", quality=95)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    assert decode(tmp_path / "a.jpg").shape == (800, 600, 3)
    widths = {least: decode(tmp_path / "a.jpg", least).shape[1] for least in (32, 75, 76, 151, 301, 600)}
    assert widths == {32: 75, 75: 75, 76: 150, 151: 300, 301: 600, 600: 600}
    np.testing.assert_allclose(decode(tmp_path / "a.jpg", 75).astype(int)[:, :, 0], ramp[4::8, ::8, 0], atol=3)
    widths = {least: decode(tmp_path / "a.png", least).shape[1] for least in (32, 75, 76, 151, 301, 600)}
    assert widths == {32: 34, 75: 75, 76: 86, 151: 200, 301: 600, 600: 600}  # every block of 18, 8, 7, 3 and 1 made one
    np.testing.assert_allclose(decode(tmp_path / "a.png", 75).astype(int)[:, :, 0], ramp[4::8, ::8, 0], atol=1)


def test_strips_make_the_same_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 65535, (211, 97), dtype=np.uint16)
    Image.fromarray(noise).save(tmp_path / "a.png")
    whole = {least: decode(tmp_path / "a.png", least) for least in (0, 13, 48)}
    monkeypatch.setattr("deltamask.datasets.pictures.STRIP", 97 * 5)
    for least, expected in whole.items():
        np.testing.assert_array_equal(decode(tmp_path / "a.png", least), expected)


@pytest.mark.parametrize(("width", "height"), [(400, 3), (3, 400), (100, 100), (10, 30), (31, 10), (1, 1)])
def test_of_a_very_long_picture_the_middle_is_kept(width: int, height: int, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    short = min(width, height)
    rows, columns = min(height, 3 * short), min(width, 3 * short)
    top, left = (height - rows) // 2, (width - columns) // 2
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png", 64), pixels[top : top + rows, left : left + columns])
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), pixels)


MEASURE = """
import resource, sys
from pathlib import Path
from PIL import Image
from tests.support import tiny
from deltamask.datasets import ImageFiles
from deltamask.task.features import preprocess
folder, backbone = Path(sys.argv[1]), tiny.build(1)
files = ImageFiles(folder, ("small.png", *sys.argv[2:]))
def peak(at):
    preprocess(files.decode(at, 192)[None], backbone, 96)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = peak(0)
print(*(peak(at) - before for at in range(1, len(files))))
"""


def test_memory_follows_what_is_made_of_a_picture_and_not_its_sides(tmp_path: Path) -> None:
    """In megabytes. A picture of 40,000 × 1 took 5.6 GB when its short side was resized first."""
    Image.new("RGB", (300, 200)).save(tmp_path / "small.png")
    Image.new("RGB", (40_000, 1)).save(tmp_path / "wide.png")
    Image.new("RGB", (1, 40_000)).save(tmp_path / "high.png")
    Image.new("L", (6_000, 6_000)).save(tmp_path / "large.png", compress_level=1)  # 36 MB as it lies in memory
    command = [sys.executable, "-c", MEASURE, str(tmp_path), "wide.png", "high.png", "large.png"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    wide, high, large = map(int, answer.stdout.split())
    assert wide < 50
    assert high < 50
    assert large < 150
