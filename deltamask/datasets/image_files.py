"""Datasets of image files, decoded when they are needed: EuroSAT, Food-101, Cars196, and folders of your own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np

from deltamask.datasets.base import (
    Classes,
    DatasetError,
    DatasetSpec,
    ImageDataset,
    Images,
    Layout,
    check_labels,
    register_rooted,
)
from deltamask.datasets.download import Download, Remote
from deltamask.datasets.formats import read_mat

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
TEST_SHARE = 5  # where there is no official split, one image in five of each class is held out
FOLDER = "folder:"
EUROSAT_CLASSES = (
    "AnnualCrop", "Forest", "HerbaceousVegetation", "Highway", "Industrial", "Pasture", "PermanentCrop", "Residential",
    "River", "SeaLake",
)  # fmt: skip


class BrokenImage(DatasetError):
    """An image file that cannot be decoded."""


@dataclass(frozen=True)
class ImageFiles:
    """Image files in a fixed order; `paths` are relative to `root`. Indexing with a number decodes one image."""

    root: Path
    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, at: int) -> Images: ...
    @overload
    def __getitem__(self, at: slice) -> ImageFiles: ...
    def __getitem__(self, at: int | slice) -> Images | ImageFiles:
        """One image, (height, width, 3) uint8, upright as its camera meant it; or a part of the files. BrokenImage."""
        if isinstance(at, slice):
            return ImageFiles(self.root, self.paths[at])
        from PIL import Image, ImageOps

        path = self.root / self.paths[at]
        try:
            with Image.open(path) as image:
                return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise BrokenImage(
                f"{path}: no image that can be read ({error}); replace or remove it, or leave such images out with "
                "--bad-images skip"
            ) from error

    @property
    def dtype(self) -> np.dtype[np.uint8]:
        """Of the pixels, as an array's."""
        return np.dtype(np.uint8)

    @property
    def fingerprint(self) -> str:
        """Hash of names, sizes and times of change."""
        digest = hashlib.sha256()
        for path in self.paths:
            try:
                stat = (self.root / path).stat()
            except OSError as error:
                raise DatasetError(f"{self.root / path}: is listed but cannot be read ({error.strerror})") from error
            digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
        return digest.hexdigest()


Listing = list[tuple[str, int]]  # (path relative to the root, class)


def shuffled(listing: Listing) -> Listing:
    """In the order of a hash of each path: classes mixed, the same everywhere, and hardly changed by one file more."""
    return sorted(listing, key=lambda entry: hashlib.sha256(entry[0].encode()).digest())


def hold_out(listing: Listing) -> tuple[Listing, Listing]:
    """(training, test) where no split is given: of each class the first fifth in the order of `shuffled`.

    It is the same for every run and seed, so that all of them are measured on the same images.
    """
    by_class: dict[int, Listing] = {}
    for entry in shuffled(listing):
        by_class.setdefault(entry[1], []).append(entry)
    held_out: set[tuple[str, int]] = set()
    for entries in by_class.values():
        held_out.update(entries[: max(round(len(entries) / TEST_SHARE), int(len(entries) > 1))])
    return [entry for entry in listing if entry not in held_out], sorted(held_out)


def image_dataset(name: str, root: Path, train: Listing, test: Listing, classes: Classes) -> ImageDataset:
    """Both listings, shuffled, as a dataset."""
    train, test = shuffled(train), shuffled(test)
    labels = [np.array([label for _, label in part], np.int64) for part in (train, test)]
    for part, listed in zip(labels, (train, test), strict=True):
        check_labels(root, part, classes, len(listed))
    files = [ImageFiles(root, tuple(path for path, _ in part)) for part in (train, test)]
    return ImageDataset(name, files[0], labels[0], files[1], labels[1], classes)


def class_folders(root: Path) -> dict[str, list[str]]:
    """{class: image paths relative to `root`}: each folder in `root` is a class. DatasetError if one has no image."""
    found: dict[str, list[str]] = {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
        images = [path.relative_to(root).as_posix() for path in files if path.suffix.lower() in SUFFIXES]
        if not images:
            others = ", ".join(sorted({path.suffix for path in files})[:3])
            seen = f"{len(files)} other files ({others}): convert them to JPEG or PNG" if files else "nothing: fill it"
            raise DatasetError(f"{folder}: a class folder without an image; it holds {seen}, or remove the folder")
        found[folder.name] = images
    return found


_LAYOUT_HELP = "put the images of each class into a folder of its own: PATH/cats/1.jpg, PATH/dogs/1.jpg, …"


def read_folder(name: str, root: Path) -> ImageDataset:
    """root/CLASS/images, split by `hold_out`; or root/train/CLASS/images and root/test/CLASS/images (or val)."""
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; {_LAYOUT_HELP}")
    if (root / "train").is_dir():
        held_out = next((split for split in ("test", "val") if (root / split).is_dir()), None)
        if held_out is None:
            raise DatasetError(f"{root}: has train/ but no test/: add it, or move the class folders out of train/")
        train_folders, test_folders = class_folders(root / "train"), class_folders(root / held_out)
        classes = tuple(train_folders)
        if strange := sorted(set(test_folders) - set(classes)):
            raise DatasetError(f"{root}: {held_out}/ has classes that train/ lacks: {', '.join(strange[:3])}")
        train, test = _listing(train_folders, classes, "train/"), _listing(test_folders, classes, f"{held_out}/")
    else:
        found = class_folders(root)
        classes = tuple(found)
        train, test = hold_out(_listing(found, classes))
    if len(classes) < 2:
        have = f"only the class {classes[0]!r}" if classes else "no class folders"
        raise DatasetError(f"{root}: {have}, and two classes are needed; {_LAYOUT_HELP}")
    if not test:
        raise DatasetError(f"{root}: no image to test on; a class needs two images at least, or make a test/ folder")
    return image_dataset(name, root, train, test, classes)


def _listing(found: dict[str, list[str]], classes: Classes, prefix: str = "") -> Listing:
    return [(prefix + path, classes.index(one)) for one, paths in found.items() for path in paths]


def folder_spec(name: str) -> DatasetSpec:
    """The entry of `folder:PATH`."""
    root = Path(name.removeprefix(FOLDER)).expanduser()
    return DatasetSpec(
        read=lambda: read_folder(name, root),
        where=lambda: root if root.is_dir() else None,
        license="your own",
        how_to_get=_LAYOUT_HELP,
        size_bytes=0,
    )


def _read_food(folder: Path) -> ImageDataset:
    classes = tuple((folder / "meta" / "classes.txt").read_text().split())
    parts: list[Listing] = []
    for split in ("train", "test"):
        path = folder / "meta" / f"{split}.txt"
        lines = path.read_text().split()
        unknown = sorted({line.split("/")[0] for line in lines} - set(classes))
        if unknown:
            raise DatasetError(f"{path}: unknown classes {', '.join(unknown[:3])}; get the files again")
        number = {one: at for at, one in enumerate(classes)}
        parts.append([(f"images/{line}.jpg", number[line.split("/")[0]]) for line in lines])
    return image_dataset("food-101", folder, parts[0], parts[1], classes)


def _read_cars(folder: Path) -> ImageDataset:
    meta = folder / "devkit" / "cars_meta.mat"
    classes = tuple(str(one) for one in np.atleast_1d(read_mat(meta, "class_names")["class_names"]))
    parts: list[Listing] = []
    for path, images in (
        (folder / "devkit" / "cars_train_annos.mat", "cars_train"),
        (folder / "cars_test_annos_withlabels.mat", "cars_test"),
    ):
        rows: Any = np.atleast_1d(read_mat(path, "annotations")["annotations"])
        if not {"fname", "class"} <= set(rows.dtype.names or ()):
            raise DatasetError(f"{path}: its annotations have no file names and classes; get the file again")
        parts.append([(f"{images}/{row['fname']}", int(row["class"]) - 1) for row in rows])
    return image_dataset("cars196", folder, parts[0], parts[1], classes)


register_rooted(
    "eurosat",  # no official split
    (Layout("eurosat/2750", EUROSAT_CLASSES),),
    lambda folder: read_folder("eurosat", folder),
    license="MIT; Sentinel-2 data are free and open",
    how_to_get="`deltamask download eurosat`",
    size_bytes=94_280_567,
    download=Download(
        (
            Remote(
                "https://huggingface.co/datasets/torchgeo/eurosat/resolve/"
                "c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
                94_280_567,
                "c8fa014336c82ac7804f0398fcb19387",
            ),
        ),
        into="eurosat",
        unpack=True,
    ),
)
register_rooted(
    "food-101",
    (Layout("food-101", ("meta/classes.txt", "meta/train.txt", "meta/test.txt", "images")),),
    _read_food,
    license="none of its own; the pictures are Foodspotting's, for scientific fair use",
    how_to_get="`deltamask download food-101`",
    size_bytes=4_996_278_331,
    download=Download(
        (
            Remote(
                "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz", 4_996_278_331, "85eeb15f3717b99a5da872d97d918f87"
            ),
        ),
        unpack=True,
    ),
)
register_rooted(
    "cars196",
    (
        Layout(
            "stanford_cars",
            (
                "devkit/cars_meta.mat",
                "devkit/cars_train_annos.mat",
                "cars_test_annos_withlabels.mat",
                "cars_train",
                "cars_test",
            ),
        ),
    ),
    _read_cars,
    license="none stated; made for research, the pictures are their photographers'",
    how_to_get="its address is dead: put a copy that you have (devkit, cars_test_annos_withlabels.mat and the folders "
    "cars_train and cars_test) into stanford_cars/ under DELTAMASK_DATA",
    size_bytes=979_269_282 + 977_350_468 + 330_960 + 185_758,
)
