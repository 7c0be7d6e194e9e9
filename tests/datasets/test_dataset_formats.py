"""The eight datasets, each read from a tiny copy in its real on-disk format and compared with torchvision's reading."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision.datasets as theirs
from scipy.io import savemat

from deltamask import datasets
from deltamask.datasets import DatasetError, ImageDataset, ImageFiles
from deltamask.datasets.catalogue import fashion_mnist
from deltamask.simulation.loop import simulate
from deltamask.task.task import load_task
from tests.support import real_formats, tiny

EIGHT = {"cifar-10", "cifar-100", "svhn", "emnist", "fashion-mnist", "eurosat", "food-101", "cars196"}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for data; nothing else is looked at."""
    monkeypatch.setenv("DELTAMASK_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FASHION", tmp_path / "not installed")
    return tmp_path / "data"


def made(copy: str, root: Path) -> ImageDataset:
    """The tiny copy, read by the real code."""
    name, make = real_formats.MAKERS[copy]
    make(root)
    return datasets.load(name)


def split_of(data: ImageDataset, split: str) -> tuple[Any, np.ndarray]:
    return (data.train_x, data.train_y) if split == "train" else (data.test_x, data.test_y)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


# torchvision checks the real files' checksums: each class is told those of the tiny copy, and does all else itself.


def their_cifar(base: type[theirs.CIFAR10], make: Callable[[Path], None]) -> Callable[[Path, str], Any]:
    """It reads the Python version, of which there is a copy of its own."""

    def read(root: Path, split: str) -> Any:
        root = root.parent / f"python-{split}"
        make(root)
        folder = root / base.base_folder
        lists = {
            part: [[name, md5(folder / name)] for name, _ in getattr(base, part)]
            for part in ("train_list", "test_list")
        }
        meta = base.meta | {"md5": md5(folder / base.meta["filename"])}
        return type("Tiny", (base,), lists | {"meta": meta})(root, train=split == "train")

    return read


def their_svhn(root: Path, split: str) -> Any:
    lists = {
        part: [url, name, md5(root / "svhn" / name)]
        for part, (url, name, _) in theirs.SVHN.split_list.items()
        if part != "extra"
    }
    return type("Tiny", (theirs.SVHN,), {"split_list": lists})(root / "svhn", split=split)


ARRAYS: dict[str, Callable[[Path, str], Any]] = {
    "cifar-10": their_cifar(theirs.CIFAR10, real_formats.cifar10_python),
    "cifar-100": their_cifar(theirs.CIFAR100, real_formats.cifar100_python),
    "svhn": their_svhn,
    "fashion-mnist": lambda root, split: theirs.FashionMNIST(root, train=split == "train"),
    "emnist": lambda root, split: theirs.EMNIST(root, "balanced", train=split == "train"),
}


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("copy", ARRAYS)
def test_arrays_are_what_torchvision_reads(copy: str, split: str, root: Path) -> None:
    data = made(copy, root)
    ours, labels = split_of(data, split)
    reference = ARRAYS[copy](root, split)
    assert len(ours) == len(reference) > 0
    for image, label, (picture, number) in zip(ours, labels, reference, strict=True):
        pixels = np.asarray(picture)
        np.testing.assert_array_equal(image, pixels.T if copy == "emnist" else pixels)  # theirs lie on their side
        assert label == number
    if copy.startswith(("cifar", "emnist")):
        assert list(data.classes) == list(reference.classes)


FILES: dict[str, Callable[[Path, str], list[tuple[str, int]]]] = {
    "eurosat": lambda root, split: theirs.EuroSAT(root).samples,
    "food-101": lambda root, split: _food(theirs.Food101(root, split=split)),
    "cars196": lambda root, split: theirs.StanfordCars(root, split=split)._samples,
}


def _food(data: theirs.Food101) -> list[tuple[str, int]]:
    return [(str(path), label) for path, label in zip(data._image_files, data._labels, strict=True)]


@pytest.mark.parametrize("copy", FILES)
def test_image_files_are_those_that_torchvision_lists(copy: str, root: Path) -> None:
    data = made(copy, root)
    listed: dict[str, dict[str, int]] = {}
    for split in ("train", "test"):
        files, labels = split_of(data, split)
        assert isinstance(files, ImageFiles)
        listed[split] = dict(zip((str(files.root / path) for path in files.paths), labels.tolist(), strict=True))
    if copy == "eurosat":  # no official split
        assert not listed["train"].keys() & listed["test"].keys()
        assert listed["train"] | listed["test"] == dict(FILES[copy](root, ""))
        assert np.bincount(data.test_y).tolist() == [1] * 10
    else:
        for split in ("train", "test"):
            assert listed[split] == {path: int(label) for path, label in FILES[copy](root, split)}
    path = data.train_x.paths[3]  # type: ignore[union-attr]
    loaded = np.asarray(theirs.folder.default_loader(str(data.train_x.root / path)))  # type: ignore[union-attr]
    np.testing.assert_array_equal(data.train_x[3], loaded)


@pytest.mark.parametrize(
    ("name", "make"), [("cifar-10", real_formats.cifar10_python), ("cifar-100", real_formats.cifar100_python)]
)
def test_the_python_version_of_cifar_is_answered_with_the_binary_one(
    name: str, make: Callable[[Path], None], root: Path
) -> None:
    make(root)
    assert datasets.get(name).where() is None
    with pytest.raises(DatasetError, match=rf"{root}.*is here, but that is the Python version.*deltamask download"):
        datasets.load(name)


def test_the_digit_zero_of_svhn_is_class_zero(root: Path) -> None:
    data = made("svhn", root)
    assert np.bincount(data.train_y, minlength=10).tolist() == [5] * 10
    dark = data.train_x[data.train_y == 0].mean()
    assert dark < data.train_x[data.train_y == 1].mean() < data.train_x[data.train_y == 9].mean()


@pytest.mark.parametrize("copy", real_formats.MAKERS)
def test_labels_alone_are_the_labels_of_the_whole(copy: str, root: Path) -> None:
    data = made(copy, root)
    labels, classes = datasets.labels(data.name)
    np.testing.assert_array_equal(labels, data.train_y, strict=True)
    assert classes == data.classes
    assert datasets.get(data.name).where() is not None


@pytest.mark.parametrize("copy", [copy for copy, (name, _) in real_formats.MAKERS.items() if copy == name])
def test_a_round_is_played_on_each(copy: str, root: Path, tiny_cache: Path) -> None:
    data = made(copy, root)
    assert data.name in EIGHT
    config = tiny.config(
        dataset=data.name, clients=2, min_client_samples=1, train_samples=50, rounds=1, probe_epochs=1, batch_size=8
    )
    task = load_task(config)
    assert (len(task.train_x), len(task.test_x)) == (min(50, len(data.train_x)), len(data.test_x))
    first, last = simulate(config, task=task)
    assert (first.round, last.round) == (0, 1)
    assert last.uplink_bytes > 0


def test_all_eight_are_there() -> None:
    assert set(datasets.names()) >= EIGHT
    assert {name for name, _ in real_formats.MAKERS.values()} == EIGHT


@pytest.mark.parametrize("copy", ["eurosat", "food-101", "cars196"])
def test_the_front_of_the_order_mixes_the_classes(copy: str, root: Path) -> None:
    data = made(copy, root)
    order = data.train_y
    assert int(np.count_nonzero(np.diff(order))) > len(order) // 3
    assert datasets.load(data.name).fingerprint == data.fingerprint


# What is damaged


def broken(copy: str, root: Path, file: str, change: Callable[[bytes], bytes]) -> str:
    """What is said when a file of the copy has been changed."""
    name, make = real_formats.MAKERS[copy]
    make(root)
    path = next(root.rglob(file))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DatasetError) as caught:
        datasets.load(name)
    assert str(path) in str(caught.value)
    return str(caught.value)


TORN = [
    ("cifar-10", "data_batch_3.bin"),
    ("cifar-100", "test.bin"),
    ("svhn", "test_32x32.mat"),
    ("fashion-mnist", "t10k-labels-idx1-ubyte"),
    ("emnist, NIST's archive", "emnist-balanced-train-images-idx3-ubyte.gz"),
    ("cars196", "cars_meta.mat"),
]
LISTS = [("cifar-10", "batches.meta.txt"), ("cifar-100", "fine_label_names.txt"), ("food-101", "classes.txt"),
         ("food-101", "train.txt")]  # fmt: skip


@pytest.mark.parametrize(("copy", "file"), TORN)
def test_a_torn_file_is_named(copy: str, file: str, root: Path) -> None:
    broken(copy, root, file, lambda content: content[: len(content) // 2 - 1])


@pytest.mark.parametrize(("copy", "file"), TORN)
def test_a_foreign_file_is_named(copy: str, file: str, root: Path) -> None:
    broken(copy, root, file, lambda content: b"<html>404 Not Found</html>")


@pytest.mark.parametrize(("copy", "file"), LISTS)
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00 no text \xc3"])
def test_a_list_that_is_no_text_is_named(copy: str, file: str, content: bytes, root: Path) -> None:
    broken(copy, root, file, lambda whole: content)


@pytest.mark.parametrize("copy", ["cifar-10", "cifar-100"])
def test_a_label_beyond_the_classes_is_refused(copy: str, root: Path) -> None:
    name, make = real_formats.MAKERS[copy]
    make(root)
    path = next(root.rglob("test*.bin"))
    content = bytearray(path.read_bytes())
    content[0 if copy == "cifar-10" else 1] = 200
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"labels from 0 to 200 for \d+ classes"):
        datasets.load(name)


def test_a_list_of_unknown_food_is_refused(root: Path) -> None:
    assert "unknown classes pizza" in broken("food-101", root, "train.txt", lambda content: content + b"pizza/12\n")


def test_a_listed_image_that_is_not_there_is_named(root: Path) -> None:
    data = made("food-101", root)
    assert isinstance(data.test_x, ImageFiles)
    path = data.test_x.root / data.test_x.paths[2]
    path.unlink()
    with pytest.raises(DatasetError, match=str(path)):
        _ = datasets.load("food-101").fingerprint


def test_matlab_files_with_something_else_inside_are_refused(root: Path) -> None:
    made("svhn", root)
    path = root / "svhn" / "train_32x32.mat"
    savemat(path, {"Z": np.zeros(3)})
    with pytest.raises(DatasetError, match=f"{path}: has no 'X'"):
        datasets.load("svhn")
    savemat(path, {"X": np.zeros((32, 32, 3, 5)), "y": np.ones(5)})
    with pytest.raises(DatasetError, match=f"{path}: X is float64"):
        datasets.load("svhn")
    made("cars196", root)
    path = root / "stanford_cars" / "devkit" / "cars_train_annos.mat"
    savemat(path, {"annotations": np.zeros(3)})
    with pytest.raises(DatasetError, match=f"{path}: its annotations have no file names"):
        datasets.load("cars196")


def test_an_incomplete_folder_is_said_to_be_incomplete(root: Path) -> None:
    made("cifar-10", root)
    (root / "cifar-10-batches-bin" / "data_batch_4.bin").unlink()
    assert datasets.get("cifar-10").where() is None
    with pytest.raises(DatasetError, match=r"cifar-10-batches-bin is incomplete, data_batch_4.bin missing.*download"):
        datasets.load("cifar-10")


@pytest.mark.parametrize("name", sorted(EIGHT))
def test_what_is_not_here_says_how_to_get_it_and_where_it_would_be_found(name: str, root: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        datasets.load(name)
    assert datasets.get(name).how_to_get in str(caught.value)
    assert str(root) in str(caught.value)
    with pytest.raises(DatasetError):
        datasets.labels(name)
