"""The cache of trunk features: what is reused, what is made again, and what never mixes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from deltamask import backbones, datasets
from deltamask.backbones.split import Backbone, Tail
from deltamask.base.paths import cache_dir
from deltamask.base.units import byte_size
from deltamask.cli import main
from deltamask.datasets import ImageDataset
from deltamask.task.feature_cache import (
    CacheError,
    FeatureFile,
    cache_limit,
    clear,
    features_dir,
)
from deltamask.task.features import BATCH, Features, feature_key, load_features, preprocess
from deltamask.task.task import no_progress
from tests.support import tiny


@pytest.fixture(scope="module")
def digits() -> ImageDataset:
    return datasets.load("digits")


class Counter(nn.Module):
    """A trunk that counts the images it sees."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.seen = 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        features: Tensor = self.trunk(x)
        return features


@pytest.fixture
def backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Backbone:
    """The tiny backbone, and an empty cache."""
    monkeypatch.setenv("DELTAMASK_CACHE", str(tmp_path))
    built = tiny.build(1)
    return replace(built, trunk=Counter(built.trunk))


def seen(backbone: Backbone) -> int:
    """Images that went through the trunk since the last question."""
    assert isinstance(backbone.trunk, Counter)
    count, backbone.trunk.seen = backbone.trunk.seen, 0
    return count


def load(
    data: ImageDataset, backbone: Backbone, train: int, test: int = 1, *, precision: str = "float32", skip: bool = False
) -> tuple[Features, Features]:
    """Features of the first images of both splits."""
    key = feature_key(backbone, 1, data, 32, precision)
    return load_features(data, (train, test), key, backbone, no_progress, "skip" if skip else "stop")


def folder_of(data: ImageDataset, backbone: Backbone, precision: str = "float32") -> Path:
    return feature_key(backbone, 1, data, 32, precision).folder


PROBE = 1  # image that tells the shape of the features


def fed(count: int) -> int:
    """Inputs of the trunk for `count` images: batches are filled up."""
    return -(-count // BATCH) * BATCH


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


@pytest.mark.parametrize("damage", ["torn data", "no data", "torn list", "garbage list", "no list", "no meta"])
def test_what_is_damaged_is_made_again(digits: ImageDataset, backbone: Backbone, damage: str) -> None:
    whole, _ = load(digits, backbone, 10_000)
    before = whole.x.clone()
    folder = folder_of(digits, backbone)
    data, index = folder / "train.bin", folder / "train.json"
    rows = len(digits.train_x)
    content, listed = data.read_bytes(), index.read_bytes()
    seen(backbone)
    match damage:
        case "torn data":  # in the middle of the fourth batch
            data.write_bytes(content[: len(content) * (4 * BATCH - 20) // rows])
        case "no data":
            data.unlink()
        case "torn list":
            index.write_bytes(listed[: len(listed) // 2])
        case "garbage list":
            index.write_bytes(np.random.default_rng(0).bytes(100))
        case "no list":
            index.unlink()
        case "no meta":
            (folder / "meta.json").unlink()
    again, _ = load(digits, backbone, 10_000)
    assert seen(backbone) == {"torn data": fed(rows - 3 * BATCH), "no meta": PROBE}.get(damage, fed(rows))
    assert torch.equal(again.x, before)
    assert data.read_bytes() == content


def test_a_killed_run_loses_at_most_a_batch(digits: ImageDataset, backbone: Backbone) -> None:
    """Killed while rows were being written: they are there, the list does not know them."""
    load(digits, backbone, BATCH)
    data = folder_of(digits, backbone) / "train.bin"
    whole = data.read_bytes()
    data.write_bytes(whole + b"\7" * 1001)
    seen(backbone)
    train, _ = load(digits, backbone, BATCH + 1)
    assert seen(backbone) == BATCH
    assert data.read_bytes()[: len(whole)] == whole
    with torch.no_grad():
        expected = backbone.trunk(preprocess(np.asarray(digits.train_x[BATCH : BATCH + 1]), backbone, 32))
    torch.testing.assert_close(train.x[BATCH:], expected, rtol=1e-4, atol=1e-5)


def test_two_processes_may_fill_the_same_cache(digits: ImageDataset, backbone: Backbone, tmp_path: Path) -> None:
    """Two start at once on an empty cache: each gets what one alone computes, and nothing is stored twice."""
    code = (
        "import hashlib\n"
        "from tests.support import tiny\n"
        "from deltamask.task.task import load_task\n"
        "task = load_task(tiny.config(train_samples=1200, test_samples=300))\n"
        "print(hashlib.sha256(task.train_x.contiguous().numpy().tobytes()).hexdigest())"
    )
    start = [sys.executable, "-c", code]
    processes = [subprocess.Popen(start, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = {process.communicate()[0].strip() for process in processes}
    train, _ = load(digits, backbone, 1200, 300)
    assert seen(backbone) == 0
    assert said == {hashlib.sha256(train.x.contiguous().numpy().tobytes()).hexdigest()}
    size = (folder_of(digits, backbone) / "train.bin").stat().st_size
    assert size == fed(1200) * train.x[0].numel() * 4


def test_of_two_who_computed_the_same_batch_the_first_is_kept(digits: ImageDataset, backbone: Backbone) -> None:
    """The other may have mapped it already."""
    load(digits, backbone, BATCH)
    file = FeatureFile(feature_key(backbone, 1, digits, 32, "float32"), "train", (8, 8, 16))
    before = file.data.read_bytes()
    rows = np.zeros((BATCH, 8, 8, 16), np.float32)
    file.append(0, rows, [])
    assert (file.data.read_bytes(), len(file.chunks())) == (before, 1)
    file.append(1, rows, [3])
    assert file.data.read_bytes() == before + rows.tobytes()
    assert file.chunks() == [(BATCH, []), (BATCH, [3])]


def test_a_cache_that_is_cleared_meanwhile_is_filled_again(digits: ImageDataset, backbone: Backbone) -> None:
    key = feature_key(backbone, 1, digits, 32, "float32")
    cleared: list[int] = []

    def clear_once(what: str, done: int, total: int) -> None:
        if done == 5 * BATCH and not cleared:
            cleared.append(len(clear()))

    train, _ = load_features(digits, (len(digits.train_x), 1), key, backbone, clear_once)
    assert cleared == [1]
    with torch.no_grad():
        expected = backbone.trunk(preprocess(np.asarray(digits.train_x), backbone, 32))
    torch.testing.assert_close(train.x, expected, rtol=1e-4, atol=1e-5)


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


# The limit, and what `deltamask cache` says and does


def test_features_that_do_not_fit_are_refused_before_they_are_computed(
    digits: ImageDataset, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = 16 * 8 * 8 * 4
    need = row * (BATCH + BATCH)
    monkeypatch.setenv("DELTAMASK_CACHE_LIMIT", str(need - 1))
    with pytest.raises(CacheError) as caught:
        load(digits, backbone, 10)
    said = str(caught.value)
    for word in (byte_size(need), "0 bytes of", "float16", "train_samples", "cache clear", "DELTAMASK_CACHE_LIMIT"):
        assert word in said
    assert seen(backbone) == PROBE
    assert not features_dir().exists()  # nothing half-written
    monkeypatch.setenv("DELTAMASK_CACHE_LIMIT", str(need))
    load(digits, backbone, 10)
    load(digits, backbone, 10)  # what is there needs no more room
    with pytest.raises(CacheError):
        load(digits, backbone, BATCH + 1)


@pytest.mark.parametrize(
    ("text", "size"), [("20GB", 20 * 10**9), ("1.5 tb", 15 * 10**11), ("500 MB", 5 * 10**8), ("7", 7), ("", 20 * 10**9)]
)
def test_the_limit_is_written_as_people_write_sizes(text: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELTAMASK_CACHE_LIMIT", text)
    assert cache_limit() == size


@pytest.mark.parametrize("text", ["much", "-1 GB", "1 GB of disk", "1 parsec"])
def test_a_limit_that_is_no_size_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELTAMASK_CACHE_LIMIT", text)
    with pytest.raises(ValueError, match=f"DELTAMASK_CACHE_LIMIT = '{text}' is no size"):
        cache_limit()


def test_the_cache_is_listed_and_cleared(
    digits: ImageDataset, backbone: Backbone, capsys: pytest.CaptureFixture[str]
) -> None:
    load(digits, backbone, 10)
    load(digits, backbone, 10, precision="float16")
    old = folder_of(digits, backbone)
    os.utime(old / "meta.json", (time.time() - 40 * 86_400,) * 2)
    foreign = features_dir() / "left-by-an-older-version"
    foreign.mkdir()
    (foreign / "train-00000.npy").write_bytes(bytes(77))

    assert main(["cache", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    entries = {entry["name"]: entry for entry in listed["entries"]}
    assert entries.keys() == {old.name, folder_of(digits, backbone, "float16").name, foreign.name}
    entry = entries[old.name]
    told = [entry[name] for name in ("backbone", "dataset", "masked_blocks", "image_size", "precision", "samples")]
    assert told == ["tiny", "digits", 1, 32, "float32", {"train": BATCH, "test": BATCH}]
    assert entry["bytes"] == sum(path.stat().st_size for path in old.iterdir())
    assert 39.9 < entry["days_unused"] < 40.1
    assert (entries[foreign.name]["bytes"], entries[foreign.name]["backbone"]) == (77, None)
    assert listed["bytes"] == sum(entry["bytes"] for entry in entries.values())

    assert main(["cache", "clear", "--older-than", "30", "--json"]) == 0
    assert [entry["name"] for entry in json.loads(capsys.readouterr().out)["entries"]] == [old.name]
    assert not old.exists()
    assert main(["cache", "list"]) == 0
    said = capsys.readouterr().out
    assert "left-by-an" in said
    assert "float16" in said
    assert main(["cache", "clear"]) == 0
    assert list(features_dir().iterdir()) == []
    assert main(["cache", "list"]) == 0
    assert "0 bytes of 20.0 GB" in capsys.readouterr().out


def test_use_keeps_features_from_being_cleared(digits: ImageDataset, backbone: Backbone) -> None:
    load(digits, backbone, 10)
    os.utime(folder_of(digits, backbone) / "meta.json", (time.time() - 40 * 86_400,) * 2)
    load(digits, backbone, 10)
    assert clear(older_than=30) == []


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


def test_of_an_image_that_is_not_square_the_middle_is_taken(backbone: Backbone) -> None:
    wide = np.zeros((1, 8, 24), np.uint8)
    wide[:, :, 8:16] = 255
    assert (preprocess(wide, backbone, 8) == 1).all()
    assert (preprocess(wide.transpose(0, 2, 1), backbone, 8) == 1).all()


def test_a_cut_that_leaves_no_block_frozen_is_refused() -> None:
    with pytest.raises(backbones.BackboneError, match="masked_blocks = 3: tiny has 3 blocks"):
        tiny.build(tiny.BLOCKS)
