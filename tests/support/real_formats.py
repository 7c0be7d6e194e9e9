"""Tiny copies of the datasets, each in the format and the folders that the real one has on disk.

Content is seeded noise, except that an image's mean brightness tells its class, so that something can be learnt.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from deltamask.datasets import write_idx
from deltamask.datasets.catalogue.emnist import FILES as EMNIST_FILES
from deltamask.datasets.catalogue.eurosat import CLASSES as EUROSAT_CLASSES
from deltamask.datasets.idx import MNIST_FILES


def images(labels: np.ndarray, classes: int, *shape: int) -> np.ndarray:
    """(n, *shape) uint8."""
    rng = np.random.default_rng(len(labels))
    level = labels.reshape(-1, *[1] * len(shape)) * (180 / classes)
    return (level + rng.integers(0, 70, (len(labels), *shape))).astype(np.uint8)


def labels_of(count: int, classes: int) -> np.ndarray:
    """Every class, in a seeded order."""
    return np.random.default_rng(count).permutation(np.arange(count) % classes)


def jpeg(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=95)


# CIFAR: (n, 3072) bytes, channels first; ten thousand records a file in the real one. We read the binary version;
# torchvision reads the Python version.


def _cifar_batches(names: tuple[str, ...], classes: int) -> list[tuple[str, np.ndarray, np.ndarray]]:
    batches = []
    for at, name in enumerate(names):
        labels = labels_of(20 + at, classes)
        batches.append((name, labels, images(labels, classes, 3072)))
    return batches


CIFAR10_NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
CIFAR100_NAMES = [f"fine_{i:02d}" for i in range(100)]


def cifar10_binary(root: Path) -> None:
    folder = root / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    names = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
    for name, labels, data in _cifar_batches(names, 10):
        (folder / name).write_bytes(np.concatenate([labels[:, None].astype(np.uint8), data], axis=1).tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(CIFAR10_NAMES) + "\n\n")


def cifar10_python(root: Path) -> None:
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name, labels, data in _cifar_batches((*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"), 10):
        files = [f"a_{i:06d}.png" for i in range(len(labels))]
        batch = {"batch_label": "training batch 1 of 5", "labels": labels.tolist(), "data": data, "filenames": files}
        (folder / name).write_bytes(pickle.dumps(batch))
    meta = {"num_cases_per_batch": 10000, "label_names": CIFAR10_NAMES, "num_vis": 3072}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta))


def cifar100_binary(root: Path) -> None:
    folder = root / "cifar-100-binary"
    folder.mkdir(parents=True)
    for name, fine, data in _cifar_batches(("train.bin", "test.bin"), 100):
        both = np.stack([fine // 5, fine], axis=1).astype(np.uint8)
        (folder / name).write_bytes(np.concatenate([both, data], axis=1).tobytes())
    (folder / "fine_label_names.txt").write_text("\n".join(CIFAR100_NAMES) + "\n")


def cifar100_python(root: Path) -> None:
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for name, fine, data in _cifar_batches(("train", "test"), 100):
        batch = {"fine_labels": fine.tolist(), "coarse_labels": (fine // 5).tolist(), "data": data}
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": CIFAR100_NAMES}))


# SVHN: MATLAB files with X (32, 32, 3, n) and y (n, 1), where the digit 0 is called 10


def svhn(root: Path) -> None:
    folder = root / "svhn"
    folder.mkdir(parents=True)
    for name, count in (("train_32x32.mat", 50), ("test_32x32.mat", 30)):
        digits = labels_of(count, 10)
        pixels = images(digits, 10, 32, 32, 3).transpose(1, 2, 3, 0)
        called = np.where(digits == 0, 10, digits).astype(np.uint8)[:, None]
        savemat(folder / name, {"X": pixels, "y": called}, do_compression=True)


# MNIST's kin


def _idx(folder: Path, files: tuple[str, ...], classes: int, packed: bool) -> None:
    folder.mkdir(parents=True)
    for at, count in ((0, 2 * classes), (2, classes)):
        labels = labels_of(count, classes)
        for name, array in ((files[at], images(labels, classes, 28, 28)), (files[at + 1], labels.astype(np.uint8))):
            path = folder / f"{name}.gz"
            write_idx(path, array)
            if not packed:
                path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
                path.unlink()


def fashion(root: Path) -> None:
    _idx(root / "FashionMNIST" / "raw", MNIST_FILES, 10, packed=False)


def emnist(root: Path) -> None:
    _idx(root / "EMNIST" / "raw", EMNIST_FILES, 47, packed=False)


def emnist_zip(root: Path) -> None:
    """As NIST's own archive unpacks: packed files in a folder `gzip`."""
    _idx(root / "EMNIST" / "raw" / "gzip", EMNIST_FILES, 47, packed=True)


# Image files


def eurosat(root: Path) -> None:
    for label, name in enumerate(EUROSAT_CLASSES):
        for at, pixels in enumerate(images(np.full(6, label), 10, 64, 64, 3)):
            jpeg(root / "eurosat" / "2750" / name / f"{name}_{at + 1}.jpg", pixels)


FOOD = ["apple_pie", "baby_back_ribs", "baklava"]


def food(root: Path) -> None:
    folder = root / "food-101"
    (folder / "meta").mkdir(parents=True)
    (folder / "meta" / "classes.txt").write_text("\n".join(FOOD) + "\n")
    (folder / "meta" / "labels.txt").write_text("\n".join(one.replace("_", " ").capitalize() for one in FOOD) + "\n")
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("test", 2)):
        listed: dict[str, list[str]] = {}
        for label, name in enumerate(FOOD):
            listed[name] = [f"{name}/{rng.integers(10**6)}" for _ in range(count)]
            for path in listed[name]:
                size = rng.integers(40, 90, 2)
                jpeg(folder / "images" / f"{path}.jpg", images(np.array([label]), 3, *size, 3)[0])
        (folder / "meta" / f"{split}.json").write_text(json.dumps(listed))
        (folder / "meta" / f"{split}.txt").write_text("".join(f"{one}\n" for part in listed.values() for one in part))


CARS = ["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Ram C/V Cargo Van Minivan 2012"]


def cars(root: Path) -> None:
    folder = root / "stanford_cars"
    (folder / "devkit").mkdir(parents=True)
    names = np.empty((1, len(CARS)), object)
    names[0] = CARS
    savemat(folder / "devkit" / "cars_meta.mat", {"class_names": names})
    fields = [("bbox_x1", "O"), ("bbox_y1", "O"), ("bbox_x2", "O"), ("bbox_y2", "O"), ("class", "O"), ("fname", "O")]
    places = {"train": folder / "devkit" / "cars_train_annos.mat", "test": folder / "cars_test_annos_withlabels.mat"}
    for count, (split, place) in zip((12, 6), places.items(), strict=True):
        rows = np.empty((1, count), fields)
        for at, label in enumerate(labels_of(count, len(CARS))):
            name = f"{at + 1:05d}.jpg"
            rows[0, at] = (9, 9, 40, 40, np.uint8(label + 1), name)
            jpeg(folder / f"cars_{split}" / name, images(np.array([label]), 3, 48, 72, 3)[0])
        savemat(place, {"annotations": rows})


# Texts: a source distribution with an archive in it, as PyPI has it; one source a file, a row a sentence

VADER_FILES = {"movie": 24, "nytEditorial": 20, "amazon": 30, "tweets": 40}  # the beginning of a name, its sentences


def vader(root: Path, rows: dict[str, bytes] | None = None) -> None:
    """Ratings go 2, −2, 0.2, 2 … rows: what a source's file holds in place of that."""
    (root / "vader").mkdir(parents=True)
    inner = {}
    for source, count in VADER_FILES.items():
        ratings = ((2.0, "a fine"), (-2.0, "a dreadful"), (0.2, "an ordinary"))
        lines = [f"{at}\t{ratings[at % 3][0]}\t{source} {ratings[at % 3][1]} thing, no. {at}" for at in range(count)]
        name = f"{source}{'' if source == 'tweets' else 'Snippets' if source == 'nytEditorial' else 'ReviewSnippets'}"
        content = (rows or {}).get(source, "\r\n".join(lines).encode())
        inner[f"hutto_ICWSM_2014/{name}_GroundTruth.txt"] = content
    top = "vaderSentiment-3.3.2"
    outer = {
        f"{top}/setup.py": b"raise SystemExit('code of a package was run')",
        f"{top}/additional_resources/hutto_ICWSM_2014.tar.gz": tar_gz(inner),
    }
    (root / "vader" / f"{top}.tar.gz").write_bytes(tar_gz(outer))


def tar_gz(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


MAKERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "cifar-10": ("cifar-10", cifar10_binary),
    "cifar-100": ("cifar-100", cifar100_binary),
    "svhn": ("svhn", svhn),
    "fashion-mnist": ("fashion-mnist", fashion),
    "emnist": ("emnist", emnist),
    "emnist, NIST's archive": ("emnist", emnist_zip),
    "eurosat": ("eurosat", eurosat),
    "food-101": ("food-101", food),
    "cars196": ("cars196", cars),
}
