"""Trunk features: what they are, what is computed and what is reused, and what never mixes."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deltamask import backbones
from deltamask.backbones.split import Backbone, Tail
from deltamask.base.units import byte_size
from deltamask.datasets import ImageDataset
from deltamask.task.feature_cache import CacheError, features_dir
from deltamask.task.features import BATCH, feature_key, load_features, preprocess
from tests.support import tiny
from tests.support.counting import PROBE, fed, folder_of, load, seen


def test_features_are_the_trunk_s_output(digits: ImageDataset, backbone: Backbone) -> None:
    train, test = load(digits, backbone, 600, 20)
    with torch.no_grad():
        expected = backbone.trunk(preprocess(np.asarray(digits.train_x[:600]), backbone, 32))
    torch.testing.assert_close(train.x, expected, rtol=1e-4, atol=1e-5)
    assert train.x.is_contiguous(memory_format=torch.channels_last)
    assert (train.kept.tolist(), train.skipped) == (list(range(600)), ())
    assert len(test.x) == 20
    assert not torch.equal(test.x, train.x[:20])


def test_features_are_mapped_not_read(digits: ImageDataset, backbone: Backbone) -> None:
    """What is changed in the file shows in the tensor."""
    train, _ = load(digits, backbone, 600)
    path = folder_of(digits, backbone) / "train.bin"
    with path.open("r+b") as file:
        file.write(np.full(1, 1234, np.float32).tobytes())
    assert train.x[0, 0, 0, 0] == 1234


def test_progress_tells_the_size_first_and_counts_up(digits: ImageDataset, backbone: Backbone) -> None:
    key = feature_key(backbone, 1, digits, 32, "float32")
    told: list[tuple[str, int, int]] = []
    load_features(digits, (600, 1), key, backbone, lambda *what: told.append(what))
    size = 16 * 8 * 8 * 4 * 600
    train = [
        (done, total) for what, done, total in told if what == f"trunk features, train: 600 samples, {byte_size(size)}"
    ]
    assert (train[0], train[1], train[-1]) == ((0, 600), (50, 600), (600, 600))
    assert train == sorted(train)
    again: list[tuple[str, int, int]] = []
    load_features(digits, (600, 1), key, backbone, lambda *what: again.append(what))
    assert [done for _, done, _ in again] == [600, 1]


def test_a_batch_is_computed_once(digits: ImageDataset, backbone: Backbone) -> None:
    first, _ = load(digits, backbone, 10_000)
    assert seen(backbone) == PROBE + fed(len(digits.train_x)) + fed(1)
    second, _ = load(digits, backbone, 10_000)
    assert seen(backbone) == 0
    assert len(first.x) == len(digits.train_x)
    assert torch.equal(first.x, second.x)


def test_fewer_images_need_fewer_batches_and_give_the_same_features(digits: ImageDataset, backbone: Backbone) -> None:
    few, _ = load(digits, backbone, 30)
    assert seen(backbone) == PROBE + BATCH + fed(1)
    more, _ = load(digits, backbone, 2 * BATCH + 1)
    assert seen(backbone) == 2 * BATCH
    assert (len(few.x), len(more.x)) == (30, 2 * BATCH + 1)
    assert torch.equal(few.x, more.x[:30])


def test_batches_may_lie_on_disk_together(digits: ImageDataset, backbone: Backbone) -> None:
    """As they did, ten at a time: those caches are still read, and added to."""
    load(digits, backbone, 4 * BATCH)
    index = folder_of(digits, backbone) / "train.json"
    index.write_text(json.dumps([[2 * BATCH, []], [2 * BATCH - 2, [7, BATCH + 7]]]))
    seen(backbone)
    train, _ = load(digits, backbone, 5 * BATCH, skip=True)
    assert seen(backbone) == BATCH
    assert np.setdiff1d(np.arange(5 * BATCH), train.kept).tolist() == [2 * BATCH + 7, 3 * BATCH + 7]


def test_half_precision_takes_half_the_space_and_is_computed_with_in_full(
    digits: ImageDataset, backbone: Backbone
) -> None:
    full, _ = load(digits, backbone, BATCH)
    half, _ = load(digits, backbone, BATCH, precision="float16")
    assert half.x.dtype == torch.float16
    torch.testing.assert_close(half.x.float(), full.x, rtol=2**-10, atol=1e-6)
    sizes = [(folder_of(digits, backbone, one) / "train.bin").stat().st_size for one in ("float32", "float16")]
    assert sizes[0] == 2 * sizes[1]
    tail = Tail(backbone.tail)
    assert torch.equal(tail(half.x), tail(half.x.float()))


def test_a_feature_too_large_for_half_precision_is_not_kept_as_infinity(
    digits: ImageDataset, backbone: Backbone
) -> None:
    class Loud(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1) * 70_000

    loud = replace(backbone, trunk=Loud())
    with pytest.raises(CacheError, match="a feature of 70000 is too large for float16: use feature_precision float32"):
        load(digits, loud, 10, precision="float16")
    assert load(digits, loud, 10)[0].x.max() == 70_000


def test_everything_a_feature_depends_on_has_a_folder_of_its_own(digits: ImageDataset, backbone: Backbone) -> None:
    key = feature_key(backbone, 1, digits, 32, "float32")
    changes = [{field.name: 64 if isinstance(getattr(key, field.name), int) else "other"} for field in fields(key)]
    folders = {replace(key, **change).folder for change in changes} | {key.folder}
    assert len(folders) == len(fields(key)) + 1
    assert all(folder.parent == features_dir() for folder in folders)
    assert replace(key, dataset="folder:a/b c/../" + "x" * 300).folder.parent == features_dir()
    assert len(replace(key, dataset="x" * 300).folder.name) < 128
    for how in ({"interpolation": "nearest"}, {"mean": (0.0, 0.0, 0.0)}, {"std": (1.0, 1.0, 1.0)}):
        assert feature_key(replace(backbone, **how), 1, digits, 32, "float32") != key  # type: ignore[arg-type]


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


def test_of_an_image_that_is_not_square_the_middle_is_taken(backbone: Backbone) -> None:
    wide = np.zeros((1, 8, 24), np.uint8)
    wide[:, :, 8:16] = 255
    assert (preprocess(wide, backbone, 8) == 1).all()
    assert (preprocess(wide.transpose(0, 2, 1), backbone, 8) == 1).all()


@pytest.mark.parametrize("shape", [(1, 3, 4000), (1, 4000, 3), (1, 1, 100_000), (1, 7, 301, 3)])
def test_of_a_very_long_array_no_more_than_the_middle_is_resized(shape: tuple[int, ...], backbone: Backbone) -> None:
    images = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    short = min(shape[1:3])
    middle = [slice((side - short) // 2, (side + short) // 2) for side in shape[1:3]]
    got = preprocess(images, backbone, 32)
    assert got.shape == (1, 3, 32, 32)
    expected = preprocess(np.ascontiguousarray(images[:, middle[0], middle[1]]), backbone, 32)
    inner = (slice(None), slice(None), slice(8, 24), slice(8, 24))  # at the border, the resized neighbours show
    assert (got[inner] - expected[inner]).abs().mean() < 0.35


def test_a_backbone_that_answers_with_nan_stops_before_anything_is_kept(
    digits: ImageDataset, backbone: Backbone
) -> None:
    class Damaged(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.where(torch.arange(len(x))[:, None] == 3, torch.nan, x.flatten(1))

    damaged = replace(backbone, trunk=Damaged(), weights_id="a torn file")
    with pytest.raises(backbones.BackboneError, match=r"tiny answers a sample with NaN or infinity: .*\(a torn file\)"):
        load(digits, damaged, 10)
    assert not list(folder_of(digits, backbone).glob("*.bin"))


def test_a_cut_that_leaves_no_block_frozen_is_refused() -> None:
    with pytest.raises(backbones.BackboneError, match="masked_blocks = 3: tiny has 3 blocks"):
        tiny.build(tiny.BLOCKS)
