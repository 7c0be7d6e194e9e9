"""Images of one's own: `folder:PATH`, a folder for each class, and `clients:PATH`, such folders for each client."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from deltamask.base.names import shown
from deltamask.base.paths import expanded
from deltamask.datasets.image_tree import NAMED, SYSTEM_FOLDERS, ImageTree, by_folder, is_hidden, scan
from deltamask.datasets.listing import Listing, hold_out, image_dataset
from deltamask.datasets.spec import Classes, DatasetError, DatasetSpec, ImageDataset, families

FOLDER, CLIENTS = "folder:", "clients:"
TRAIN, TEST = ("train", "training"), ("test", "testing", "val", "valid", "validation", "eval", "dev")  # best first
LAYOUT = "put the images of each class into a folder of its own: PATH/cats/1.jpg, PATH/dogs/1.jpg, …"
CLIENT_LAYOUT = "put them into a folder for each client and class: PATH/anna/cats/1.jpg, PATH/ben/dogs/1.jpg, …"


def class_name(folder: str) -> str:
    """A class's name, from its folder's. macOS writes accents as letters of their own: those are one class."""
    return unicodedata.normalize("NFC", shown(folder))


def read_folder(name: str, root: Path) -> ImageDataset:
    """root/CLASS/images, split by `hold_out`; or root/train/CLASS/images and root/test/CLASS/images.

    Each may have folders of its own below it. Other names for train and test are TRAIN and TEST above. DatasetError
    says what will not do.
    """
    tree = _scanned(root, LAYOUT)
    train_part, test_part = _parts(tree)
    if test_part is None:
        found = tree.folders()
        _check_full(root, found, "class")
        classes = _classes(found)
        _check_classes(root, classes, LAYOUT)
        listing = _listing(found, classes)
        train, test = hold_out(listing)
        tree.use_only((path for path, _ in listing), "outside of the class folders")
    else:
        found, held_out = tree.folders(f"{train_part}/"), tree.folders(f"{test_part}/")
        for part, folders in ((train_part, found), (test_part, held_out)):
            _check_full(root / part, folders, "class")
        classes = _classes(found)
        _check_classes(root, classes, LAYOUT)
        if strange := sorted(set(_classes(held_out)) - set(classes)):
            listed = ", ".join(strange[:NAMED])
            raise DatasetError(f"{shown(root)}: {test_part}/ has classes that {train_part}/ lacks: {listed}")
        train, test = _listing(found, classes), _listing(held_out, classes)
        others = ", ".join(f"{shown(part)}/" for part in tree.folders() if part not in (train_part, test_part))
        outside = f"outside of the class folders in {train_part}/ and {test_part}/"
        tree.use_only((path for path, _ in [*train, *test]), f"{outside} ({others})" if others else outside)
    if not test:
        raise DatasetError(
            f"{shown(root)}: no image to test on; a class needs two images at least, or make a test/ folder"
        )
    notes = [tree.note()]
    if test_part is None:
        notes.append(_part_note(tree, train_part))
        notes.append(_clients_note(found))
    return image_dataset(name, root, train, test, classes, notes=tuple(filter(None, notes)))


def read_clients(name: str, root: Path) -> ImageDataset:
    """root/CLIENT/CLASS/images, split by `hold_out`. The clients are the dataset's groups. DatasetError."""
    tree = _scanned(root, CLIENT_LAYOUT)
    group_of: dict[str, str] = {}
    found: dict[str, list[str]] = {}
    clients = tree.folders()
    _check_full(root, clients, "client")
    for client, images in clients.items():
        for folder, paths in by_folder(images, 1).items():
            found.setdefault(folder, []).extend(paths)
            group_of.update(dict.fromkeys(paths, class_name(client)))
    classes = _classes(found)
    _check_classes(root, classes, CLIENT_LAYOUT)
    listing = _listing(found, classes)
    tree.use_only((path for path, _ in listing), "outside of the class folders")
    train, test = hold_out(listing)
    notes = tuple(filter(None, [tree.note()]))
    return image_dataset(name, root, train, test, classes, group_of=group_of, notes=notes)


def _scanned(root: Path, layout: str) -> ImageTree:
    if not root.is_dir():
        what = "is a file, and a folder is needed" if root.exists() else "no such folder"
        raise DatasetError(f"{shown(root)}: {what}; {layout}")
    return scan(root)


def _part_note(tree: ImageTree, train_part: str) -> str | None:
    """Where a folder is read as a class that may have been meant as a part of the dataset."""
    if train_part:
        return f"{train_part}/ is read as a class, since there is no test/ beside it"
    test_part = _first(TEST, _layered(tree))
    return f"{test_part}/ is read as a class, since there is no train/ beside it" if test_part else None


def _layered(tree: ImageTree) -> set[str]:
    """The folders most of whose images lie in folders within them."""
    return {
        name for name, paths in tree.folders().items() if 2 * sum(path.count("/") > 1 for path in paths) > len(paths)
    }


def _parts(tree: ImageTree) -> tuple[str, str | None]:
    """(folder of training images, folder of test images); no second one: every folder is a class.

    A folder called `train` is no class if most of its images lie in folders within it; its name is given even where
    there is no test/, and is empty where there is no such folder.
    """
    found, layered = tree.folders(), _layered(tree)
    train, test = _first(TRAIN, layered), _first(TEST, layered)
    if train and test:
        return train, test
    named = sorted(name for name in found if name.lower() in (*TRAIN, *TEST))
    if named and len(named) == len(found):
        have = " and ".join(f"{name}/" for name in named)
        if train:
            raise DatasetError(f"{shown(tree.root)}: has {have} but no test/: add it, or move the class folders out")
        raise DatasetError(
            f"{shown(tree.root)}: has {have} and no class folders: {LAYOUT}; or add train/ with class folders in it; "
            "or, where these are classes, call them otherwise"
        )
    return train, None


def _first(wanted: tuple[str, ...], names: set[str]) -> str:
    """The name that stands first among `wanted`, in whatever case; empty where there is none."""
    by_case = {name.lower(): name for name in sorted(names)}
    return next((by_case[word] for word in wanted if word in by_case), "")


def _classes(found: dict[str, list[str]]) -> Classes:
    return tuple(dict.fromkeys(class_name(folder) for folder in sorted(found)))


def _listing(found: dict[str, list[str]], classes: Classes) -> Listing:
    return [(path, classes.index(class_name(folder))) for folder, paths in found.items() for path in paths]


def _check_classes(root: Path, classes: Classes, layout: str) -> None:
    if len(classes) < 2:
        have = f"only the class {classes[0]!r}" if classes else "no class folders"
        raise DatasetError(f"{shown(root)}: {have}, and two classes are needed; {layout}")


def _check_full(place: Path, found: dict[str, list[str]], what: str) -> None:
    """DatasetError that names every folder in `place` which would be a class, or a client, and holds no image."""
    hollow = []
    for folder in sorted(path for path in place.iterdir() if path.is_dir()):
        if folder.name not in found and not is_hidden(folder.name, SYSTEM_FOLDERS):
            kinds = scan(folder).left_out
            others = ", ".join(list(kinds)[:NAMED])
            held = f"{sum(kinds.values())} other files ({others}): convert them to JPEG or PNG" if kinds else "nothing"
            hollow.append(f"{shown(folder)}: a {what} folder without an image; it holds {held}")
    if hollow:
        raise DatasetError("\n".join([*hollow, "fill what is empty, or remove the folder"]))


def _clients_note(found: dict[str, list[str]]) -> str | None:
    """Where every folder holds the same folders and nothing else: these may be the classes, and those the clients."""
    within = [{path.split("/")[1] if path.count("/") > 1 else "" for path in paths} for paths in found.values()]
    if len(within) < 2 or any(names != within[0] for names in within) or "" in within[0] or len(within[0]) < 2:
        return None
    inner, outer = (", ".join(shown(name) for name in sorted(names)[:NAMED]) for names in (within[0], found))
    return (
        f"the classes are {outer}, and each holds the folders {inner}: if those are the classes, and {outer} the "
        f"clients, use {CLIENTS}PATH instead of {FOLDER}PATH"
    )


def _family(prefix: str, name: str, groups: str | None) -> DatasetSpec:
    layout, reader = (LAYOUT, read_folder) if prefix == FOLDER else (CLIENT_LAYOUT, read_clients)
    path = name.removeprefix(prefix)
    root = expanded(path).absolute()

    def read() -> ImageDataset:
        if not path.strip():
            raise DatasetError(f"dataset {name!r}: the path is missing; {layout.replace('PATH', f'{prefix}PATH', 1)}")
        return reader(name, root)

    return DatasetSpec(
        read=read,
        where=lambda: root if path.strip() and root.is_dir() else None,
        license="your own",
        how_to_get=layout,
        size_bytes=0,
        groups=groups,
    )


@families.register(FOLDER)
def folder_spec(name: str) -> DatasetSpec:
    """The entry of `folder:PATH`."""
    return _family(FOLDER, name, None)


@families.register(CLIENTS)
def clients_spec(name: str) -> DatasetSpec:
    """The entry of `clients:PATH`."""
    return _family(CLIENTS, name, "one folder a client")
