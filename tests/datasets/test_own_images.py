"""`folder:PATH`, images of one's own: what is read, how it is split, what is said about folders that will not do."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from deltamask import datasets, load_run
from deltamask.cli import main
from deltamask.datasets import BrokenImage, DatasetError, ImageFiles
from deltamask.datasets.pictures import read_picture
from deltamask.task.feature_cache import features_dir
from deltamask.task.features import feature_key, load_features, preprocess
from deltamask.task.task import load_task, no_progress
from tests.support import tiny
from tests.support.photographs import load, paths, photographs
from tests.support.real_formats import images, jpeg

README = Path(__file__).resolve().parents[2] / "README.md"


def test_class_folders_are_split_class_by_class(tmp_path: Path) -> None:
    data = load(photographs(tmp_path, ("ants", "bees", "cats")))
    assert data.classes == ("ants", "bees", "cats")
    assert np.bincount(data.train_y).tolist() == [16] * 3
    assert np.bincount(data.test_y).tolist() == [4] * 3
    train, test = paths(data.train_x), paths(data.test_x)
    assert not set(train) & set(test)
    for part, labels in ((train, data.train_y), (test, data.test_y)):
        assert [path.split("/")[0] for path in part] == [data.classes[label] for label in labels]
    assert np.count_nonzero(np.diff(data.train_y)) > 16  # mixed
    assert load(tmp_path).fingerprint == data.fingerprint


def test_one_image_more_moves_at_most_one_other_into_or_out_of_the_test_set(tmp_path: Path) -> None:
    before = set(paths(load(photographs(tmp_path)).test_x))
    jpeg(tmp_path / "cats" / "new.jpg", np.zeros((40, 40, 3), np.uint8))
    after = set(paths(load(tmp_path).test_x))
    assert len(before ^ after) <= 2


def test_features_of_files_are_those_of_their_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELTAMASK_CACHE", str(tmp_path / "cache"))
    data = load(photographs(tmp_path / "photos"))
    backbone = tiny.build(1)
    key = feature_key(backbone, 1, data, 32, "float32")
    train, _ = load_features(data, (100, 100), key, backbone, no_progress)
    assert isinstance(data.train_x, ImageFiles)
    with torch.no_grad():
        pixels = torch.cat([preprocess(data.train_x[at][None], backbone, 32) for at in range(len(data.train_x))])
        torch.testing.assert_close(train.x, backbone.trunk(pixels), rtol=1e-4, atol=1e-5)


def test_a_folder_that_has_moved_keeps_its_features_and_a_changed_image_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DELTAMASK_CACHE", str(tmp_path / "cache"))
    backbone = tiny.build(1)

    def place(root: Path) -> Path:
        return feature_key(backbone, 1, load(root), 32, "float32").folder

    first = place(photographs(tmp_path / "photos"))
    (tmp_path / "elsewhere").mkdir()
    moved = (tmp_path / "photos").rename(tmp_path / "elsewhere" / "photos")
    assert place(moved) == first
    jpeg(moved / "cats" / "IMG_0003.jpg", np.zeros((40, 41, 3), np.uint8))
    assert place(moved) != first


# What will not do


def test_a_run_on_a_folder_that_will_not_do_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DELTAMASK_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("DELTAMASK_CACHE", str(tmp_path / "cache"))
    assert main(["run", *tiny.flags(tiny.config(dataset=f"folder:{tmp_path / 'nowhere'}"))]) == 1
    assert f"{tmp_path / 'nowhere'}: no such folder" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
    one = photographs(tmp_path / "one", ("cats",))
    assert main(["run", *tiny.flags(tiny.config(dataset=f"folder:{one}"))]) == 1
    assert "two classes are needed" in capsys.readouterr().err
    assert not features_dir().exists()


DAMAGE = {
    "torn": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "text": lambda content: b"<html>404 Not Found</html>",
    "png that is none": lambda content: b"\x89PNG\r\n\x1a\n" + content[8:],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_broken_image_is_named_and_can_be_skipped(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DELTAMASK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DELTAMASK_RUNS", str(tmp_path / "runs"))
    root = photographs(tmp_path / "photos")
    config = tiny.config(dataset=f"folder:{root}", clients=2, rounds=1, probe_epochs=1, min_client_samples=4)
    whole = load_task(config)
    kept = whole.train_x.clone()
    data = load(root)
    bad = [paths(data.train_x)[at] for at in (5, 9)] + paths(data.test_x)[2:3]
    contents = {path: (root / path).read_bytes() for path in bad}
    for path, content in contents.items():
        (root / path).write_bytes(DAMAGE[damage](content))

    assert main(["run", *tiny.flags(config)]) == 1
    said = capsys.readouterr().err
    assert "3 image files cannot be read:" in said
    assert all(f"{root / path}: no image that can be read" in said for path in bad)  # of both splits, at once
    assert "--bad-images skip" in said
    assert not list(feature_key(tiny.build(1), 1, load(root), 32, "float32").folder.glob("*.bin"))  # none half-written

    assert main(["run", *tiny.flags(config), "--bad-images", "skip", "--out", str(tmp_path / "skipped")]) == 0
    assert f"3 images could not be read and were left out, {root / bad[0]} first" in capsys.readouterr().err
    run = load_run(str(tmp_path / "skipped"))
    assert run.task["skipped"] == [str(root / path) for path in bad]
    assert (run.task["train_samples"], run.task["test_samples"]) == (len(data.train_y) - 2, len(data.test_y) - 1)
    assert np.sum(run.task["label_counts"], axis=0).tolist() == np.bincount(np.delete(data.train_y, [5, 9])).tolist()
    skipping = load_task(config.replace(bad_images="skip"))
    good = np.delete(np.arange(len(data.train_y)), [5, 9])
    torch.testing.assert_close(skipping.train_x, kept[good])
    assert skipping.train_y.tolist() == data.train_y[good].tolist()
    with pytest.raises(BrokenImage, match=bad[0]):  # though its features are cached
        load_task(config)

    for path, content in contents.items():  # put right again
        (root / path).write_bytes(content)
    assert len(load_task(config).train_x) == len(data.train_y)


def test_all_broken_files_are_listed_at_once_and_none_that_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though most lie in batches that were not reached, and some in batches that were computed before."""
    monkeypatch.setenv("DELTAMASK_CACHE", str(tmp_path / "cache"))
    root = photographs(tmp_path / "photos", count=90)
    config = tiny.config(dataset=f"folder:{root}", clients=1, train_samples=130, test_samples=20)
    load_task(config.replace(train_samples=10, test_samples=1))  # the first batch of each split
    data = load(root)
    bad = [paths(data.train_x)[at] for at in (60, 61, 120)] + [paths(data.test_x)[19]]
    (root / paths(data.train_x)[140]).write_bytes(b"no image, and not asked for")
    for path in bad:
        (root / path).write_bytes(b"no image")
    with pytest.raises(BrokenImage) as caught:
        load_task(config)
    assert [fault.split(":")[0] for fault in caught.value.faults] == [str(root / path) for path in bad]
    assert str(caught.value).startswith("4 image files cannot be read:\n")


def test_a_message_names_a_hundred_files_and_counts_the_others() -> None:
    lines = str(BrokenImage([f"{at}.jpg: torn" for at in range(1234)])).splitlines()
    assert lines[0] == "1,234 image files cannot be read:"
    assert lines[100] == "99.jpg: torn"
    assert lines[101].startswith("and 1,134 more; replace or remove")
    assert len(lines) == 102


@pytest.mark.parametrize("skip_first", [True, False])
def test_a_file_that_can_be_read_again_is_used_again(
    skip_first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its permission came back, or a plugin did: neither its size nor its time of change says so."""
    monkeypatch.setenv("DELTAMASK_CACHE", str(tmp_path / "cache"))
    root = photographs(tmp_path / "photos")
    config = tiny.config(dataset=f"folder:{root}", clients=1, bad_images="skip")
    refused = str(root / paths(load(root).train_x)[3])

    def refuse(path: Path, short_side: int = 0) -> np.ndarray:
        if str(path) == refused:
            raise PermissionError(13, "Permission denied", refused)
        return read_picture(path, short_side)

    with monkeypatch.context() as patch:
        patch.setattr("deltamask.datasets.image_files.read_picture", refuse)
        assert load_task(config).skipped == (refused,)
        assert load_task(config).skipped == (refused,)  # from the cache
        with pytest.raises(BrokenImage, match="Permission denied"):
            load_task(config.replace(bad_images="stop"))
    again = load_task(config if skip_first else config.replace(bad_images="stop"))
    assert again.skipped == ()
    assert len(again.train_x) == 32


def test_what_is_left_out_is_said_at_the_start_and_in_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DELTAMASK_CACHE", str(tmp_path / "cache"))
    root = photographs(tmp_path / "photos [old]")
    (root / "cats" / "IMG_0001.jpg").rename(root / "cats" / "IMG_0001.HEIC")
    shutil.copy(root / "cats" / "IMG_0002.jpg", root / "dogs" / "copy.jpg")
    config = tiny.config(dataset=f"folder:{root}", clients=2, rounds=1, probe_epochs=1, min_client_samples=4)
    assert main(["run", *tiny.flags(config), "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().err
    note = f"{root}: not used: 1 .HEIC (convert .heic to JPEG or PNG, or install pillow-heif)"
    assert said.index(f"note: {note}") < said.index("trunk features") < said.index("note: identical images in more")
    notes = load_run(str(tmp_path / "run")).task["notes"]
    assert notes[0] == note
    assert notes[1].startswith("identical images in more than one class: 1 (")


def test_one_folder_a_client_is_trained_on_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELTAMASK_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "people"
    photographs(root / "anna", ("cats", "dogs"), count=10)
    photographs(root / "ben", ("dogs",), count=15)
    data = load(root, "clients:")
    broken = next(path for path in paths(data.train_x) if path.startswith("anna/dogs"))
    (root / broken).write_bytes(b"no image")
    config = tiny.config(
        dataset=f"clients:{root}", partition="natural", clients=2, min_client_samples=1, bad_images="skip"
    )
    task = load_task(config)
    used = [path.split("/")[:2] for path in paths(data.train_x) if path != broken]
    assert task.skipped == (str(root / broken),)
    assert task.label_counts.tolist() == [
        [used.count([client, name]) for name in ("cats", "dogs")] for client in ("anna", "ben")
    ]
    with pytest.raises(ValueError, match="'natural' needs a dataset with clients of its own, and 'folder:"):
        load_task(config.replace(dataset=f"folder:{root / 'anna'}"))


def test_a_split_that_cannot_be_is_refused_before_any_feature_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DELTAMASK_CACHE", str(tmp_path / "cache"))
    root = photographs(tmp_path / "photos")
    config = tiny.config(dataset=f"folder:{root}", clients=40, min_client_samples=1, train_samples=400)
    with pytest.raises(ValueError, match="40 clients × 1 samples each is more than the 32 there are"):
        load_task(config)
    assert not features_dir().exists()


def test_when_no_image_can_be_read_skipping_does_not_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELTAMASK_CACHE", str(tmp_path / "cache"))
    root = photographs(tmp_path / "photos")
    for path in root.rglob("*.jpg"):
        path.write_bytes(b"no image")
    with pytest.raises(DatasetError, match="none of its images can be read"):
        load_task(tiny.config(dataset=f"folder:{root}", clients=1, bad_images="skip"))


def test_labels_of_a_folder_need_no_image_to_be_decoded(tmp_path: Path) -> None:
    root = photographs(tmp_path)
    for path in root.rglob("*.jpg"):
        path.write_bytes(b"no image")
    labels, classes = datasets.labels(f"folder:{root}")
    assert (len(labels), classes) == (32, ("cats", "dogs"))


def test_the_readme_s_lines_train_on_photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's lines as they stand, on pictures that lie where it takes them from."""
    (block,) = re.findall(r"```\n(mkdir -p .*?)```", README.read_text(), re.S)
    lines = [line.split("#")[0].strip() for line in block.splitlines()]
    assert len(lines) == 5
    for label, name in enumerate(("cups", "spoons")):
        for at, pixels in enumerate(images(np.full(25, label), 2, 120, 160, 3)):
            jpeg(tmp_path / "Pictures" / name / f"IMG_{at:04d}.jpg", pixels)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("DELTAMASK_CACHE", "DELTAMASK_RUNS", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    for line in lines:
        if line.startswith("deltamask "):
            assert main(shlex.split(line)[1:]) == 0
        else:
            subprocess.run(["sh", "-c", line], check=True)
    (folder,) = (tmp_path / "runs").iterdir()
    run = load_run(str(folder))
    assert run.config.dataset == f"folder:{tmp_path / 'photos'}"
    assert run.records[-1]["round"] == run.config.rounds
    assert run.task["classes"] == ["cups", "spoons"]
    assert run.records[-1]["accuracy"] > 0.8  # two kinds of pictures that differ in brightness
