"""The cache of trunk features: what is reused, what is made again, and what never mixes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from deltamask import backbones, datasets
from deltamask.datasets import ImageDataset
from deltamask.features import CHUNK, FeatureKey, cache_dir, preprocess, trunk_features
from deltamask.tail import Backbone
from tests import tiny


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return datasets.load("digits")


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return tiny.build(1)


@pytest.fixture
def key(digits: ImageDataset, backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureKey:
    monkeypatch.setenv("DELTAMASK_CACHE", str(tmp_path))
    return FeatureKey(backbone.name, backbone.weights_id, 1, digits.name, digits.fingerprint, 32)


def compute(
    digits: ImageDataset, key: FeatureKey, backbone: Backbone, count: int, split: str = "train"
) -> tuple[Tensor, list[tuple[int, int]]]:
    """(features, progress)"""
    images = digits.train_x if split == "train" else digits.test_x
    seen: list[tuple[int, int]] = []
    features = trunk_features(images, count, split, key, backbone, lambda what, done, total: seen.append((done, total)))
    return features, seen


def times(key: FeatureKey) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in sorted(key.folder.iterdir())}


def test_features_are_the_trunk_s_output(digits: ImageDataset, key: FeatureKey, backbone: Backbone) -> None:
    features, _ = compute(digits, key, backbone, 600)
    with torch.no_grad():
        expected = backbone.trunk(preprocess(digits.train_x[:600], backbone, 32))
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)
    assert features.is_contiguous(memory_format=torch.channels_last)


def test_progress_counts_up_to_the_total(digits: ImageDataset, key: FeatureKey, backbone: Backbone) -> None:
    _, cold = compute(digits, key, backbone, 600)
    _, warm = compute(digits, key, backbone, 600)
    assert cold[0] == (50, 600)
    assert cold == sorted(cold)
    assert cold[-1] == warm[-1] == (600, 600)
    assert len(warm) == 2  # one a chunk


def test_a_chunk_is_computed_once(digits: ImageDataset, key: FeatureKey, backbone: Backbone) -> None:
    first, _ = compute(digits, key, backbone, 10_000)
    assert len(first) == len(digits.train_x)
    before = times(key)
    assert list(before) == ["train-00000.npy", "train-00001.npy", "train-00002.npy"]
    second, _ = compute(digits, key, backbone, 10_000)
    assert times(key) == before
    assert torch.equal(first, second)


def test_fewer_images_need_fewer_chunks_and_give_the_same_features(
    digits: ImageDataset, key: FeatureKey, backbone: Backbone
) -> None:
    few, _ = compute(digits, key, backbone, 30)
    assert list(times(key)) == ["train-00000.npy"]
    before = times(key)
    more, _ = compute(digits, key, backbone, CHUNK + 1)
    assert list(times(key)) == ["train-00000.npy", "train-00001.npy"]
    assert times(key).items() >= before.items()
    assert (len(few), len(more)) == (30, CHUNK + 1)
    assert torch.equal(few, more[:30])


def test_splits_do_not_mix(digits: ImageDataset, key: FeatureKey, backbone: Backbone) -> None:
    train, _ = compute(digits, key, backbone, 40)
    test, _ = compute(digits, key, backbone, 40, "test")
    assert not torch.equal(train, test)
    assert sorted(times(key)) == ["test-00000.npy", "train-00000.npy"]


@pytest.mark.parametrize("damage", ["torn", "empty", "garbage"])
def test_a_damaged_chunk_is_made_again(digits: ImageDataset, key: FeatureKey, backbone: Backbone, damage: str) -> None:
    whole, _ = compute(digits, key, backbone, CHUNK + 100)
    chunk = key.folder / "train-00001.npy"
    content = chunk.read_bytes()
    untouched = times(key)["train-00000.npy"]
    garbage = np.random.default_rng(0).bytes(len(content))
    chunk.write_bytes({"torn": content[: len(content) // 2], "empty": b"", "garbage": garbage}[damage])
    again, _ = compute(digits, key, backbone, CHUNK + 100)
    assert torch.equal(again, whole)
    assert chunk.read_bytes() == content
    assert times(key)["train-00000.npy"] == untouched


def test_everything_a_feature_depends_on_has_a_folder_of_its_own(key: FeatureKey, tmp_path: Path) -> None:
    changes = [
        {"backbone": "other"},
        {"weights_id": "other"},
        {"masked_blocks": 2},
        {"dataset": "other"},
        {"dataset_fingerprint": "other"},
        {"image_size": 64},
    ]
    folders = {replace(key, **change).folder for change in changes} | {key.folder}  # type: ignore[arg-type]
    assert len(folders) == 7
    assert all(folder.parent == tmp_path / "features" for folder in folders)
    assert replace(key, dataset="folder:a/b").folder.parent == tmp_path / "features"


def test_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DELTAMASK_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "deltamask"
    monkeypatch.setenv("DELTAMASK_CACHE", str(tmp_path / "mine"))
    assert cache_dir() == tmp_path / "mine"


def test_preprocessing_by_hand(backbone: Backbone) -> None:
    """Gray is repeated over three channels, scaled to [−1, 1]; colour keeps its channels."""
    gray = np.array([[[0, 255], [255, 0]]], np.uint8)
    pixels = preprocess(gray, backbone, 2)
    assert pixels.shape == (1, 3, 2, 2)
    for channel in pixels[0]:
        assert channel.tolist() == [[-1.0, 1.0], [1.0, -1.0]]
    colour = np.zeros((1, 2, 2, 3), np.uint8)
    colour[..., 1] = 255
    assert preprocess(colour, backbone, 2)[0].mean(dim=(1, 2)).tolist() == [-1.0, 1.0, -1.0]
    assert preprocess(gray, backbone, 32).shape == (1, 3, 32, 32)


def test_a_cut_that_leaves_no_block_frozen_is_refused() -> None:
    with pytest.raises(backbones.BackboneError, match="masked_blocks = 3: tiny has 3 blocks"):
        tiny.build(tiny.BLOCKS)
