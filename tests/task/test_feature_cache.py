"""The feature cache on disk: damage, several processes, its limit, and what `deltamask cache` says and does."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from deltamask.backbones.split import Backbone
from deltamask.base.paths import cache_dir
from deltamask.base.units import byte_size
from deltamask.cli import main
from deltamask.datasets import ImageDataset
from deltamask.task.feature_cache import CacheError, FeatureFile, cache_limit, clear, features_dir
from deltamask.task.features import BATCH, feature_key, load_features, preprocess
from tests.support.counting import PROBE, fed, folder_of, load, seen


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
