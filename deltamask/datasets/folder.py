"""`folder:PATH`: a folder of images for each class, with or without a split into training and test images."""

from __future__ import annotations

from pathlib import Path

from deltamask.datasets.listing import Listing, hold_out, image_dataset
from deltamask.datasets.spec import Classes, DatasetError, DatasetSpec, ImageDataset, families

FOLDER = "folder:"
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})


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


@families.register(FOLDER)
def folder_spec(name: str) -> DatasetSpec:
    """The entry of `folder:PATH`."""
    root = Path(name.removeprefix(FOLDER)).expanduser().absolute()
    return DatasetSpec(
        read=lambda: read_folder(name, root),
        where=lambda: root if root.is_dir() else None,
        license="your own",
        how_to_get=_LAYOUT_HELP,
        size_bytes=0,
    )
