"""Datasets read from real files, and what is said about files that are not what they should be."""

from __future__ import annotations

import gzip
import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deltamask import datasets
from deltamask.base.paths import data_dir
from deltamask.base.registry import Registry
from deltamask.datasets import DatasetError, ImageDataset, load, read_idx, write_idx
from deltamask.datasets.catalogue.fashion_mnist import DEBIAN_FASHION

MINI = data_dir() / "fashion-mnist-mini"


@pytest.fixture(scope="module")
def mini() -> ImageDataset:
    return load("fashion-mnist-mini")


def test_mini_files_match_their_checksums() -> None:
    lines = (MINI / "SHA256SUMS").read_text().splitlines()
    assert len(lines) == 4
    for line in lines:
        digest, name = line.split()
        assert hashlib.sha256((MINI / name).read_bytes()).hexdigest() == digest, name


def test_mini_is_stratified(mini: ImageDataset) -> None:
    assert mini.train_x.shape == (10_000, 28, 28)
    assert mini.test_x.shape == (2_000, 28, 28)
    assert mini.train_x.dtype == mini.test_x.dtype == np.uint8
    assert np.bincount(mini.train_y).tolist() == [1000] * 10
    assert np.bincount(mini.test_y).tolist() == [200] * 10
    assert len(mini.classes) == 10


@pytest.mark.skipif(not DEBIAN_FASHION.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_mini_begins_like_the_full_set(mini: ImageDataset) -> None:
    full = load("fashion-mnist")
    assert (len(full.train_x), len(full.test_x)) == (60_000, 10_000)
    np.testing.assert_array_equal(mini.train_x[:6000], full.train_x[:6000])
    np.testing.assert_array_equal(mini.train_y[:6000], full.train_y[:6000])
    for label in range(10):  # and every class is the front of its class
        np.testing.assert_array_equal(mini.test_x[mini.test_y == label], full.test_x[full.test_y == label][:200])


def test_digits_hold_out_a_fifth_of_each_class() -> None:
    digits = load("digits")
    train, test = np.bincount(digits.train_y, minlength=10), np.bincount(digits.test_y, minlength=10)
    assert train.sum() + test.sum() == 1797
    assert (test == (train + test) // 5).all()
    assert digits.train_x.shape[1:] == (8, 8)
    assert (digits.train_x.min(), digits.train_x.max()) == (0, 255)
    held_out = {image.tobytes() for image in digits.test_x}
    assert len(held_out & {image.tobytes() for image in digits.train_x}) == 0


def test_fingerprint_follows_the_content(mini: ImageDataset) -> None:
    assert mini.fingerprint == load("fashion-mnist-mini").fingerprint
    changed = mini.test_x.copy()
    changed[-1, -1, -1] ^= 1
    assert replace(mini, test_x=changed).fingerprint != mini.fingerprint
    assert replace(mini, train_y=mini.train_y[::-1]).fingerprint != mini.fingerprint
    assert load("digits").fingerprint != mini.fingerprint


# IDX files


@pytest.mark.parametrize("shape", [(0,), (5,), (3, 4), (2, 3, 4)])
def test_idx_round_trips(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    write_idx(tmp_path / "a.gz", array)
    write_idx(tmp_path / "b.gz", array)
    np.testing.assert_array_equal(read_idx(tmp_path / "a.gz"), array, strict=True)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def idx(*, head: bytes = b"\x00\x00\x08\x01", body: bytes = b"\x00\x00\x00\x05hello") -> bytes:
    return gzip.compress(head + body, mtime=0)


DAMAGED = {
    "empty": b"",
    "no gzip": b"just text, not gzip",
    "torn": idx()[:-9],
    "torn deeper": idx()[:14],
    "checksum": idx()[:-8] + b"\0\0\0\0" + idx()[-4:],
    "deflate": idx()[:10] + b"\xff" * 12,
    "empty inside": gzip.compress(b""),
    "floats": idx(head=b"\x00\x00\x0d\x01"),
    "foreign": gzip.compress(b"%PDF-1.7 something else altogether"),
    "no shape": idx(head=b"\x00\x00\x08\x03", body=b"\0\0\0\x05"),
    "short body": idx(body=b"\x00\x00\x00\x06hello"),
    "long body": idx(body=b"\x00\x00\x00\x04hello"),
    "huge shape": idx(head=b"\x00\x00\x08\x03", body=b"\xff" * 12 + b"hello"),
    "shape of 2^64": idx(head=b"\x00\x00\x08\x03", body=b"\x80\0\0\0\x80\0\0\0\0\0\0\x04"),
    "no dimensions": idx(head=b"\x00\x00\x08\x00", body=b"hello"),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(DatasetError) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere\.gz"):
        read_idx(tmp_path / "nowhere.gz")


def test_a_damaged_dataset_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "fashion-mnist-mini"
    shutil.copytree(MINI, folder)
    monkeypatch.setenv("DELTAMASK_DATA", str(tmp_path))
    labels = folder / "train-labels-idx1-ubyte.gz"
    write_idx(labels, read_idx(labels)[:-1])
    with pytest.raises(DatasetError, match="images and labels differ in number"):
        load("fashion-mnist-mini")
    labels.unlink()
    with pytest.raises(DatasetError, match="is incomplete, train-labels-idx1-ubyte missing"):
        load("fashion-mnist-mini")


def test_a_missing_dataset_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELTAMASK_DATA", str(tmp_path))
    assert datasets.get("fashion-mnist-mini").where() is None
    with pytest.raises(DatasetError, match=r"'fashion-mnist-mini' is not on this machine: clone .* DELTAMASK_DATA"):
        load("fashion-mnist-mini")


@pytest.mark.parametrize("name", datasets.names())
def test_every_dataset_tells_its_licence_its_size_and_where_to_get_it(name: str) -> None:
    spec = datasets.get(name)
    assert spec.license
    assert spec.how_to_get
    assert spec.size_bytes > 0


# The registry that codecs, methods, datasets and backbones share


def test_unknown_names_are_answered_with_the_names_that_exist() -> None:
    with pytest.raises(KeyError) as caught:
        load("mnist")
    message = caught.value.args[0]
    assert message.startswith("unknown dataset 'mnist'; there are: ")
    assert all(name in message for name in datasets.names())


def test_duplicate_names_are_refused() -> None:
    registry: Registry[int] = Registry("number")
    registry.register("one")(1)
    with pytest.raises(ValueError, match="number 'one' is registered already"):
        registry.register("one")(2)
    assert (registry.get("one"), registry.names(), len(registry), "one" in registry) == (1, ["one"], 1, True)
