"""What is looked at in every dataset: the form of its samples, samples that occur twice, and whether it has changed."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltamask import datasets
from deltamask.datasets import (
    DatasetError,
    DatasetSpec,
    Groups,
    ImageDataset,
    checked,
    differences,
    identical,
    identity,
)
from tests.support.photographs import load, paths, photographs
from tests.support.real_formats import jpeg

SMALL = ImageDataset(
    "small", np.arange(96, dtype=np.uint8).reshape(6, 4, 4), np.array([0, 1, 0, 1, 0, 1]),
    np.arange(100, 132, dtype=np.uint8).reshape(2, 4, 4), np.array([0, 1]), ("no", "yes"),
)  # fmt: skip


def with_train(x: Any, test: Any = None) -> ImageDataset:
    return checked(replace(SMALL, train_x=x, test_x=x[:2] if test is None else test))


def test_what_has_the_form_is_left_as_it_is() -> None:
    data = checked(SMALL)
    assert data.train_x is SMALL.train_x
    assert data.fingerprint == SMALL.fingerprint
    assert data.notes == ()


@pytest.mark.parametrize(
    ("kind", "top"), [(np.float32, 1), (np.float64, 255), (np.uint16, 65535), (np.int64, 65535), (np.int32, 255)]
)
def test_images_of_any_numbers_become_bytes_by_the_range_of_the_training_images(kind: Any, top: int) -> None:
    values = np.linspace(0, top, 96).reshape(6, 4, 4).astype(kind)
    data = with_train(values, values[:2])
    assert isinstance(data.train_x, np.ndarray)
    assert isinstance(data.test_x, np.ndarray)
    assert data.train_x.dtype == data.test_x.dtype == np.uint8
    assert (data.train_x.min(), data.train_x.max()) == (0, 255)
    np.testing.assert_array_equal(data.test_x, data.train_x[:2])


@pytest.mark.parametrize("kind", [np.bool_, np.int64])
def test_black_and_white_may_be_zero_and_one(kind: Any) -> None:
    data = with_train((np.arange(96) % 2).reshape(6, 4, 4).astype(kind))
    assert np.unique(np.asarray(data.train_x)).tolist() == [0, 255]


def test_a_test_set_of_another_range_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"test_x: values from 0 to 255, where train_x lies within 0 to 1"):
        with_train(np.zeros((6, 4, 4), np.float32), np.full((2, 4, 4), 255.0) * [[[0, 1, 1, 1]]])


@given(st.sampled_from([np.nan, np.inf, -np.inf]), st.integers(0, 5), st.integers(0, 15))
def test_what_is_not_finite_is_counted_and_the_first_is_named(value: float, image: int, pixel: int) -> None:
    x = np.zeros((6, 4, 4), np.float32)
    x[image].flat[pixel] = value
    with pytest.raises(DatasetError, match=rf"train_x: 1 of 6 images hold NaN or infinity, number {image} first"):
        with_train(x)


def test_channels() -> None:
    gray = with_train(np.zeros((6, 4, 4, 1), np.uint8))
    assert gray.train_x.shape == (6, 4, 4)  # type: ignore[union-attr]
    clear = np.zeros((6, 4, 4, 4), np.uint8)
    clear[..., 3] = np.array([0, 128, 255, 255])
    data = with_train(clear)
    assert data.train_x[0, 0, :, 0].tolist() == [255, 127, 0, 0]  # type: ignore[call-overload, index]
    with pytest.raises(DatasetError, match=r"of shape \(6, 3, 4, 8\).*channels last"):
        with_train(np.zeros((6, 3, 4, 8), np.uint8))


@pytest.mark.parametrize("x", [np.zeros((6, 16)), np.zeros((6, 0, 4), np.uint8), np.zeros((6, 4, 4), complex),
                               np.array([None] * 6), np.array([b"text"] * 6)])  # fmt: skip
def test_what_is_neither_images_nor_texts_is_refused_with_its_form(x: Any) -> None:
    with pytest.raises(DatasetError, match=r"small: train_x: (of shape|an array of)"):
        with_train(x)


@pytest.mark.parametrize("texts", [["a", "b", " ", "d", "e", ""], np.array(["a", "b", " ", "d", "e", ""], object)])
def test_lists_of_texts_become_arrays_and_empty_ones_are_counted(texts: Any) -> None:
    data = with_train(texts)
    assert data.train_x.dtype.kind == "U"  # type: ignore[union-attr]
    assert data.notes == ("small: train_x: 2 of 6 texts are empty",)


def test_labels() -> None:
    assert checked(replace(SMALL, train_y=np.array([0.0, 1, 0, 1, 0, 1]))).train_y.dtype == np.int64
    for labels, said in [
        ([0, 1, 0, 1, 0], "6 images and 5 labels"),
        ([0, 1, 0, 1, 0, 2], "labels from 0 to 2 for 2 classes"),
        ([0, 1, 0, 1, 0, -1], "labels from -1 to 1"),
        ([0, 1, 0, 1, 0, np.nan], "1 labels are no class indices, nan first"),
        ([0, 1, 0, 1, 0, 0.5], "1 labels are no class indices, 0.5 first"),
        (["no"] * 6, "labels are .n,. class indices"),
        ([[0, 1]] * 6, r"of type int64 and shape \(6, 2\)"),
    ]:
        with pytest.raises(DatasetError, match=said):
            checked(replace(SMALL, train_y=np.array(labels)))
    with pytest.raises(DatasetError, match="no training samples"):
        checked(replace(SMALL, train_x=SMALL.train_x[:0], train_y=SMALL.train_y[:0]))
    with pytest.raises(DatasetError, match="groups of 3 samples, and there are 6"):
        checked(replace(SMALL, groups=Groups(("a",), np.zeros(3, np.int64))))


def test_every_dataset_is_looked_at_when_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = DatasetSpec(lambda: replace(SMALL, train_y=np.array([0, 1, 0, 1, 0, 7])), lambda: None, "", "", 0)
    monkeypatch.setitem(datasets.datasets._entries, "wrong", spec)
    for read in (datasets.load, datasets.labels):
        with pytest.raises(DatasetError, match="labels from 0 to 7"):
            read("wrong")


# Samples that occur twice


def test_identical_arrays_and_texts_are_named() -> None:
    x = SMALL.train_x.copy()  # type: ignore[union-attr]
    x[3], x[4] = x[0], x[2]  # of another class; of the same
    assert identical(replace(SMALL, train_x=x)) == (
        "identical images in more than one class: 1 (training sample 0 (no) = training sample 3 (yes))",
    )
    assert identical(replace(SMALL, train_x=x), ([1, 2, 3, 4], [0, 1])) == ()
    texts = np.array(["a", "b", "c", "d", "e", "f"])
    both = replace(SMALL, train_x=texts, test_x=np.array(["e", "z"]))
    (note,) = identical(both)
    assert note == "identical texts in both training and test set: 1 (training sample 4 (no) = test sample 0 (no))"
    assert identical(SMALL) == ()


def test_identical_files_are_named_where_they_should_not_be(tmp_path: Path) -> None:
    root = photographs(tmp_path, count=10)
    assert identical(load(root)) == ()
    shutil.copy(root / "cats" / "IMG_0001.jpg", root / "cats" / "again.jpg")  # in one class
    shutil.copy(root / "cats" / "IMG_0002.jpg", root / "dogs" / "wrong.jpg")
    data = load(root)
    notes = {note.split(":")[0]: note for note in identical(data)}
    other = "cats/IMG_0002.jpg = dogs/wrong.jpg", "dogs/wrong.jpg = cats/IMG_0002.jpg"
    assert any(pair in notes["identical images in more than one class"] for pair in other)
    split = {("again.jpg" in path, "IMG_0001.jpg" in path) for path in paths(data.train_x) if path.startswith("cats")}
    apart = len(split & {(True, False), (False, True)}) == 1
    assert ("identical images in both training and test set" in notes) is apart


def test_of_many_pairs_a_few_are_named(tmp_path: Path) -> None:
    photographs(tmp_path / "train", count=8)
    shutil.copytree(tmp_path / "train", tmp_path / "test")
    (note,) = identical(load(tmp_path))
    assert note.startswith("identical images in both training and test set: 16 (train/")
    assert note.count(" = ") == 3
    assert note.endswith("; …)")


@pytest.mark.parametrize("at", [0, 5000, -1])
def test_files_that_differ_anywhere_are_not_identical(at: int, tmp_path: Path) -> None:
    """Same size, and all but one byte the same: at either end, and in the middle."""
    photographs(tmp_path / "train", count=3)
    photographs(tmp_path / "test", count=2)
    for part in ("train", "test"):
        content = bytearray(20_000)
        if part == "test":
            content[at] = 1
        (tmp_path / part / "cats" / "a.bmp").write_bytes(content)
    for path in (tmp_path / "test").rglob("*.jpg"):
        jpeg(path, np.full((40, 40, 3), 7 * len(path.name) + (path.parent.name == "cats"), np.uint8))
    said = " ".join(identical(load(tmp_path)))
    assert "a.bmp" not in said


def test_a_file_that_cannot_be_read_is_identical_to_none(tmp_path: Path) -> None:
    root = photographs(tmp_path, count=6)
    data = load(root)
    for path in list(root.rglob("*.jpg")):
        path.unlink()
    assert identical(data) == ()


# Whether the data are still the same


def test_an_identity_is_plain_json_and_the_same_for_the_same_data(tmp_path: Path) -> None:
    root = photographs(tmp_path / "photos", count=5)
    before = json.loads(json.dumps(identity(load(root))))
    assert differences(before, identity(load(root))) == []
    assert differences(before, identity(load(root.rename(tmp_path / "moved")))) == []
    assert (before["classes"], before["train_samples"], before["test_samples"]) == (["cats", "dogs"], 8, 2)


def test_differences_are_said_in_words(tmp_path: Path) -> None:
    root = photographs(tmp_path, count=10)
    before = identity(load(root))
    os.utime(root / "cats" / "IMG_0000.jpg", (1, 1))
    assert differences(before, identity(load(root))) == ["the same files by name and size, changed since it began"]
    jpeg(root / "cats" / "IMG_0000.jpg", np.zeros((90, 90, 3), np.uint8))
    assert differences(before, identity(load(root))) == ["as many samples as when it began, and others among them"]
    photographs(root, ("birds",), count=5)
    assert differences(before, identity(load(root))) == [
        "3 classes, 2 when it began (new: birds)",
        "20 training samples, 16 when it began",
        "5 test samples, 4 when it began",
    ]
    shutil.rmtree(root / "cats")
    assert "(new: birds; gone: cats)" in differences(before, identity(load(root)))[0]
    (line,) = differences(identity(SMALL), identity(replace(SMALL, classes=("yes", "no"))))
    assert line == "2 classes, 2 when it began (in another order)"


def test_any_label_or_byte_changes_an_identity() -> None:
    before = identity(SMALL)
    x = SMALL.train_x.copy()  # type: ignore[union-attr]
    x[5, 3, 3] ^= 1
    for changed in (replace(SMALL, train_x=x), replace(SMALL, test_y=np.array([1, 0]))):
        assert differences(before, identity(changed)) == ["as many samples as when it began, and others among them"]
