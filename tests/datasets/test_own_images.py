"""`folder:PATH`, images of one's own: what is read, how it is split, what is said about folders that will not do."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deltamask import datasets, load_run
from deltamask.cli import main
from deltamask.datasets import BrokenImage, DatasetError, ImageFiles
from deltamask.task.feature_cache import features_dir
from deltamask.task.features import feature_key, load_features, preprocess
from deltamask.task.task import load_task, no_progress
from tests.support import tiny
from tests.support.real_formats import images, jpeg

README = Path(__file__).resolve().parents[2] / "README.md"


def photographs(root: Path, classes: tuple[str, ...] = ("cats", "dogs"), count: int = 20) -> Path:
    """Pictures of several sizes in a folder for each class."""
    rng = np.random.default_rng(count)
    for label, name in enumerate(classes):
        for at in range(count):
            size = rng.integers(40, 80, 2)
            jpeg(root / name / f"IMG_{at:04d}.jpg", images(np.array([label]), len(classes), *size, 3)[0])
    return root


def load(root: Path) -> datasets.ImageDataset:
    return datasets.load(f"folder:{root}")


def paths(part: object) -> list[str]:
    assert isinstance(part, ImageFiles)
    return list(part.paths)


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


def test_a_split_of_one_s_own_is_kept(tmp_path: Path) -> None:
    photographs(tmp_path / "train", count=7)
    photographs(tmp_path / "test", count=3)
    data = load(tmp_path)
    assert (len(data.train_x), len(data.test_x), data.classes) == (14, 6, ("cats", "dogs"))
    assert all(path.startswith("test/") for path in paths(data.test_x))
    (tmp_path / "test").rename(tmp_path / "val")
    assert len(load(tmp_path).test_x) == 6


def test_what_lies_about_is_not_taken_for_images(tmp_path: Path) -> None:
    root = photographs(tmp_path, count=3)
    for name in ("cats/.DS_Store", "cats/._IMG_0001.jpg", "cats/notes.txt", "README.md"):
        (root / name).write_bytes(b"no image")
    (root / ".ipynb_checkpoints").mkdir()
    jpeg(root / "dogs" / "more" / "deep.JPG", np.zeros((40, 40, 3), np.uint8))
    data = load(root)
    assert data.classes == ("cats", "dogs")
    assert sorted(paths(data.train_x) + paths(data.test_x))[3:] == [
        "dogs/IMG_0000.jpg",
        "dogs/IMG_0001.jpg",
        "dogs/IMG_0002.jpg",
        "dogs/more/deep.JPG",
    ]


def test_a_photograph_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    root = photographs(tmp_path, count=1)
    picture = Image.new("RGB", (60, 40))
    picture.paste((255, 255, 255), (0, 0, 30, 40))
    exif = Image.Exif()
    exif[274] = 6  # the camera was held upright: a viewer turns the picture clockwise
    picture.save(root / "cats" / "IMG_0000.jpg", exif=exif)
    image = ImageFiles(root, ("cats/IMG_0000.jpg",))[0]
    assert image.shape == (60, 40, 3)
    assert image[:20].mean() > 250 > 5 > image[40:].mean()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "CMYK", "I;16"])
def test_every_kind_of_image_becomes_three_channels(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new(mode, (5, 4)).save(path)
    image = ImageFiles(tmp_path, (path.name,))[0]
    assert (image.shape, image.dtype) == ((4, 5, 3), np.uint8)


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


def test_folders_that_will_not_do_say_what_to_do(tmp_path: Path) -> None:
    def said(root: Path) -> str:
        with pytest.raises(DatasetError) as caught:
            load(root)
        assert str(root) in str(caught.value)
        return str(caught.value)

    assert "no such folder" in said(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "no class folders, and two classes are needed; put the images of each class" in said(tmp_path / "empty")
    assert "only the class 'cats'" in said(photographs(tmp_path / "one", ("cats",)))
    flat = photographs(tmp_path / "flat" / "x").rename(tmp_path / "plain")
    assert "no class folders" in said(flat / "cats")
    hollow = photographs(tmp_path / "hollow")
    (hollow / "fish").mkdir()
    assert "fish: a class folder without an image; it holds nothing" in said(hollow)
    (hollow / "fish" / "IMG_1.HEIC").write_bytes(b"")
    assert "it holds 1 other files (.HEIC): convert them to JPEG or PNG" in said(hollow)
    single = photographs(tmp_path / "single", count=1)
    assert "no image to test on" in said(single)
    split = tmp_path / "split"
    photographs(split / "train")
    assert "has train/ but no test/" in said(split)
    photographs(split / "test", ("cats", "mice"))
    assert "test/ has classes that train/ lacks: mice" in said(split)


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
    assert f"{root / bad[0]}: no image that can be read" in said
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
    assert run.config.dataset == "folder:photos"
    assert run.records[-1]["round"] == run.config.rounds
    assert run.task["classes"] == ["cups", "spoons"]
    assert run.records[-1]["accuracy"] > 0.8  # two kinds of pictures that differ in brightness


def test_a_large_photograph_is_decoded_no_larger_than_needed(tmp_path: Path) -> None:
    ramp = np.broadcast_to((np.arange(800) * 255 // 800)[:, None, None], (800, 600, 3)).astype(np.uint8)
    jpeg(tmp_path / "a.jpg", ramp)
    files = ImageFiles(tmp_path, ("a.jpg",))
    assert files[0].shape == (800, 600, 3)
    widths = {least: files.decode(0, least).shape[1] for least in (32, 75, 76, 151, 301, 600)}
    assert widths == {32: 75, 75: 75, 76: 150, 151: 300, 301: 600, 600: 600}
    small = files.decode(0, 75).astype(int)
    np.testing.assert_allclose(small[:, :, 0], ramp[4::8, ::8, 0], atol=3)
