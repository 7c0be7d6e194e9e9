"""`folder:PATH` and `clients:PATH` as people have them: every file is used, or counted and named."""

from __future__ import annotations

import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deltamask import datasets
from deltamask.base.names import raw, shown
from deltamask.datasets import DatasetError
from deltamask.datasets.folder import TEST, TRAIN
from deltamask.datasets.image_tree import SYSTEM_FOLDERS, scan
from tests.support.photographs import all_paths, load, paths, photographs
from tests.support.real_formats import jpeg

BLACK = np.zeros((40, 40, 3), np.uint8)


def counted(note: str) -> set[str]:
    """What a note says is not used."""
    return set(note.split(": not used: ")[1].split(" (")[0].split(", "))


# What programs and systems leave among photographs


@pytest.mark.parametrize("place", ["", "cats/", "cats/more/"])
@pytest.mark.parametrize("name", [".ipynb_checkpoints", ".thumbnails", "@eaDir", "__MACOSX", *sorted(SYSTEM_FOLDERS)])
def test_a_hidden_or_system_folder_is_left_out_at_any_depth_and_counted(name: str, place: str, tmp_path: Path) -> None:
    root = photographs(tmp_path, count=5)
    jpeg(root / "cats" / "more" / "a.jpg", BLACK)
    before = all_paths(load(root))
    jpeg(root / place / name / "IMG_0000.jpg" / "thumb.jpg", BLACK)
    jpeg(root / place / name / "b.jpg", BLACK)
    data = load(root)
    assert data.classes == ("cats", "dogs")
    assert all_paths(data) == before
    assert data.notes == (f"{root}: not used: 2 {name}/",)


def test_hidden_files_and_those_of_systems_are_left_out_and_counted(tmp_path: Path) -> None:
    root = photographs(tmp_path, count=3)
    for name in ("cats/.DS_Store", "cats/._IMG_0001.jpg", "dogs/Thumbs.db", "desktop.ini"):
        (root / name).write_bytes(b"no image")
    data = load(root)
    assert len(all_paths(data)) == 6
    assert data.notes == (f"{root}: not used: 4 hidden and system files",)


# Endings


@pytest.mark.parametrize("ending", [".jfif", ".JPG", ".jpe", ".JPEG"])
def test_any_ending_of_a_jpeg_is_read(ending: str, tmp_path: Path) -> None:
    root = photographs(tmp_path, count=4)
    for path in (root / "cats").iterdir():
        path.rename(path.with_suffix(ending))
    data = load(root)
    assert np.bincount(np.concatenate([data.train_y, data.test_y])).tolist() == [4, 4]
    assert data.train_x.decode(0).shape[2] == 3  # type: ignore[union-attr]
    assert data.notes == ()


def test_endings_that_nobody_reads_are_counted_and_named(tmp_path: Path) -> None:
    root = photographs(tmp_path, count=6)
    for path in sorted((root / "cats").iterdir())[:2]:
        path.rename(path.with_suffix(".HEIC"))
    for name in ("cats/notes.txt", "dogs/IMG_1.CR2", "dogs/README"):
        (root / name).write_bytes(b"no image")
    data = load(root)
    assert np.bincount(np.concatenate([data.train_y, data.test_y])).tolist() == [4, 6]
    (note,) = data.notes
    assert note.startswith(f"{root}: not used: 2 .HEIC, ")
    assert counted(note) == {"2 .HEIC", "1 .txt", "1 .CR2", "1 without an ending"}
    assert note.endswith("(convert .cr2, .heic to JPEG or PNG, or install pillow-heif)")


def test_of_very_many_kinds_the_most_frequent_are_named(tmp_path: Path) -> None:
    root = photographs(tmp_path, count=3)
    for at in range(50):
        (root / "cats" / f"a.{'x' * 200}{at:02d}").write_bytes(b"")
    (root / "cats" / "b.txt").write_bytes(b"")
    (root / "cats" / "c.txt").write_bytes(b"")
    (note,) = load(root).notes
    assert note.startswith(f"{root}: not used: 2 .txt, 1 .xxx")
    assert note.endswith("x, 39 of other kinds")
    assert len(note) < 1000 + len(str(root))


def test_pictures_outside_of_class_folders_are_counted(tmp_path: Path) -> None:
    root = photographs(tmp_path, count=4)
    jpeg(root / "group.jpg", BLACK)
    assert load(root).notes == (f"{root}: not used: 1 outside of the class folders",)


@pytest.mark.skipif(os.name == "nt", reason="no such files there")
def test_what_is_no_file_is_counted_and_nobody_waits_for_it(tmp_path: Path) -> None:
    root = photographs(tmp_path, count=4)
    os.mkfifo(root / "cats" / "pipe.jpg")
    (root / "cats" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (root / "cats" / "again").symlink_to(root, target_is_directory=True)
    data = load(root)
    assert len(all_paths(data)) == 8
    assert counted(data.notes[0]) == {"1 pipes and devices", "1 broken links", "1 links in a circle"}


def test_links_to_folders_and_files_are_followed(tmp_path: Path) -> None:
    photographs(tmp_path / "elsewhere", count=4)
    (tmp_path / "photos").mkdir()
    for name in ("cats", "dogs"):
        (tmp_path / "photos" / name).symlink_to(tmp_path / "elsewhere" / name, target_is_directory=True)
    assert len(all_paths(load(tmp_path / "photos"))) == 8


def test_a_folder_that_may_not_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = photographs(tmp_path, count=3)
    real = os.scandir

    def refuse(path: Path) -> object:  # as root, permissions refuse nothing
        if Path(path).name == "dogs":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DatasetError, match=rf"{root / 'dogs'}: cannot be listed \(Permission denied\)"):
        load(root)


# Names


@pytest.mark.skipif(os.name == "nt", reason="names there are Unicode")
def test_a_name_that_is_no_text_is_read_and_can_be_printed(tmp_path: Path) -> None:
    root = photographs(tmp_path, count=5)
    os.rename(root / "cats" / "IMG_0003.jpg", os.fsencode(root / "cats") + b"/caf\xe9.jpg")
    os.rename(root / "dogs", os.fsencode(root) + b"/d\xf6gs")
    data = load(root)
    assert data.classes == ("cats", "d\\xf6gs")
    assert len(all_paths(data)) == 10
    files = [(part, at) for part in (data.train_x, data.test_x) for at in range(len(part))]
    sources = [part.source(at) for part, at in files]  # type: ignore[union-attr]
    assert f"{root}/cats/caf\\xe9.jpg" in sources
    assert all(source.encode("utf-8").decode("utf-8") == source for source in sources)
    assert all(part.decode(at).size > 0 for part, at in files)  # type: ignore[union-attr]
    assert len(data.fingerprint) == 16


@pytest.mark.parametrize(
    "name", ["[old]", "[red]", ":warning:", "a b", "50%", "{x}", "ü", "日本", "$HOME", "a'b", "-n"]
)
def test_names_mean_nothing_but_themselves(name: str, tmp_path: Path) -> None:
    root = photographs(tmp_path / name, (name, "other"), count=4)
    data = load(root)
    assert data.classes == tuple(sorted((name, "other")))
    assert len(all_paths(data)) == 8
    (root / name / f"{name}.heic").write_bytes(b"")
    assert load(root).notes[0].startswith(f"{root}: not used: 1 .heic")


def test_names_are_shown_in_one_line_and_keep_their_bytes() -> None:
    strange = b"a\xff\n\x1b[31mb".decode("utf-8", "surrogateescape")
    assert shown(strange) == r"a\xff\n\x1b[31mb"
    assert raw(strange) == b"a\xff\n\x1b[31mb"
    assert shown("Übung – 日本 [x]") == "Übung – 日本 [x]"


def test_an_accent_written_in_two_ways_is_one_class(tmp_path: Path) -> None:
    """As macOS writes it in one part, and another system in the other."""
    one, two = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    photographs(tmp_path / "train", (one, "tea"), count=4)
    photographs(tmp_path / "test", (two, "tea"), count=2)
    data = load(tmp_path)
    assert (data.classes, len(data.train_y), len(data.test_y)) == (("café", "tea"), 8, 4)


# Classes and parts


@pytest.mark.parametrize("train", TRAIN)
@pytest.mark.parametrize("test", [*TEST, "Validation", "TEST"])
def test_a_split_of_one_s_own_is_kept(train: str, test: str, tmp_path: Path) -> None:
    photographs(tmp_path / train, count=7)
    photographs(tmp_path / test, count=3)
    data = load(tmp_path)
    assert (len(data.train_x), len(data.test_x), data.classes) == (14, 6, ("cats", "dogs"))
    assert all(path.startswith(f"{test}/") for path in paths(data.test_x))
    assert data.notes == ()


def test_of_test_and_validation_the_first_is_used_and_the_other_counted(tmp_path: Path) -> None:
    for part, count in (("train", 7), ("val", 2), ("test", 3)):
        photographs(tmp_path / part, count=count)
    jpeg(tmp_path / "train" / "stray.jpg", BLACK)
    data = load(tmp_path)
    assert (len(data.train_x), len(data.test_x)) == (14, 6)
    assert data.notes == (f"{tmp_path}: not used: 5 outside of the class folders in train/ and test/ (val/)",)


@pytest.mark.parametrize("name", ["train", "test", "val", "validation", "Train"])
def test_a_class_may_be_called_like_a_part(name: str, tmp_path: Path) -> None:
    data = load(photographs(tmp_path, (name, "bus", "car"), count=10))
    assert data.classes == tuple(sorted((name, "bus", "car")))
    assert np.bincount(data.train_y).tolist() == [8] * 3
    assert data.notes == ()


@pytest.mark.parametrize(("name", "lacking"), [("train", "test"), ("test", "train")])
def test_a_class_that_looks_like_a_part_is_mentioned(name: str, lacking: str, tmp_path: Path) -> None:
    photographs(tmp_path, ("bus", "car"), count=4)
    photographs(tmp_path / name, ("steam", "diesel"), count=4)
    data = load(tmp_path)
    assert data.classes == ("bus", "car", name)
    assert data.notes == (f"{name}/ is read as a class, since there is no {lacking}/ beside it",)


def refused(name: str) -> str:
    """What is said about a folder that will not do."""
    with pytest.raises(DatasetError) as caught:
        datasets.load(name)
    return str(caught.value)


def test_folders_that_will_not_do_say_what_to_do(tmp_path: Path) -> None:
    def said(root: Path) -> str:
        answer = refused(f"folder:{root}")
        assert str(root) in answer
        return answer

    assert "no such folder" in said(tmp_path / "nowhere")
    jpeg(tmp_path / "file.jpg", BLACK)
    assert "is a file, and a folder is needed" in said(tmp_path / "file.jpg")
    (tmp_path / "empty").mkdir()
    assert "no class folders, and two classes are needed; put the images of each class" in said(tmp_path / "empty")
    assert "only the class 'cats'" in said(photographs(tmp_path / "one", ("cats",)))
    assert "no class folders" in said(photographs(tmp_path / "flat") / "cats")
    assert "no image to test on" in said(photographs(tmp_path / "single", count=1))
    split = tmp_path / "split"
    photographs(split / "train")
    assert "has train/ but no test/" in said(split)
    photographs(split / "test", ("cats", "mice"))
    assert "test/ has classes that train/ lacks: mice" in said(split)
    assert "has test/ and train/ and no class folders" in said(photographs(tmp_path / "unsorted", ("train", "test")))


def test_all_empty_class_folders_are_named_at_once(tmp_path: Path) -> None:
    root = photographs(tmp_path, count=3)
    for name in ("birds", "fish", "@eaDir"):
        (root / name).mkdir()
    (root / "fish" / "IMG_1.HEIC").write_bytes(b"")
    said = refused(f"folder:{root}")
    assert f"{root / 'birds'}: a class folder without an image; it holds nothing" in said
    assert f"{root / 'fish'}: a class folder without an image; it holds 1 other files (.HEIC): convert them" in said
    assert "@eaDir" not in said
    photographs(tmp_path / "split" / "train", count=3)
    photographs(tmp_path / "split" / "test", count=3)
    (tmp_path / "split" / "test" / "mice").mkdir()
    assert "mice: a class folder without an image" in refused(f"folder:{tmp_path / 'split'}")


@pytest.mark.parametrize("name", ["folder:", "clients:", "folder: "])
def test_a_family_without_a_path_is_not_the_folder_one_stands_in(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photographs(tmp_path))
    assert datasets.get(name).where() is None
    assert f"dataset {name!r}: the path is missing; " in refused(name)


def test_a_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photographs(tmp_path / "photos", count=3)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(all_paths(datasets.load("folder:~/photos"))) == 6


# Clients


def clients(root: Path) -> Path:
    """Anna has cats and dogs, Ben dogs and mice, Cleo cats."""
    photographs(root / "anna", ("cats", "dogs"), count=10)
    photographs(root / "ben", ("dogs", "mice"), count=5)
    photographs(root / "cleo", ("cats",), count=7)
    return root


def test_one_folder_a_client(tmp_path: Path) -> None:
    data = load(clients(tmp_path), "clients:")
    assert data.classes == ("cats", "dogs", "mice")
    assert np.bincount(np.concatenate([data.train_y, data.test_y])).tolist() == [17, 15, 5]
    assert data.groups is not None
    assert data.groups.names == ("anna", "ben", "cleo")
    of = [path.split("/")[0] for path in paths(data.train_x)]
    assert [data.groups.names[group] for group in data.groups.of] == of
    assert [path.split("/")[1] for path in paths(data.train_x)] == [data.classes[label] for label in data.train_y]
    assert data.notes == ()
    assert datasets.get(f"clients:{tmp_path}").groups == "one folder a client"
    assert load(tmp_path / "anna").groups is None


def test_what_lies_beside_a_client_s_classes_is_counted(tmp_path: Path) -> None:
    root = clients(tmp_path)
    jpeg(root / "anna" / "me.jpg", BLACK)
    jpeg(root / "group.jpg", BLACK)
    jpeg(root / "ben" / "dogs" / ".thumbnails" / "a.jpg", BLACK)
    assert counted(load(root, "clients:").notes[0]) == {"2 outside of the class folders", "1 .thumbnails/"}


def test_clients_that_will_not_do_say_what_to_do(tmp_path: Path) -> None:
    assert "only the class 'cats'" in refused(f"clients:{photographs(tmp_path / 'a' / 'x', ('cats',)).parent}")
    root = clients(tmp_path / "b")
    (root / "dora").mkdir()
    assert f"{root / 'dora'}: a client folder without an image; it holds nothing" in refused(f"clients:{root}")
    assert "no class folders" in refused(f"clients:{photographs(tmp_path / 'c')}")


def test_a_folder_of_clients_read_as_classes_is_mentioned(tmp_path: Path) -> None:
    for name in ("anna", "ben"):
        photographs(tmp_path / name, count=4)
    (note,) = load(tmp_path).notes
    assert note.startswith("the classes are anna, ben, and each holds the folders cats, dogs: if those are the classes")
    jpeg(tmp_path / "anna" / "me.jpg", BLACK)  # and classes that hold images of their own are classes
    assert load(tmp_path).notes == ()


# The order of a folder that has nothing strange in it


def test_the_order_is_that_of_the_hash_of_each_path(tmp_path: Path) -> None:
    """As before names could be anything: whoever trained on a folder trains on the same images in the same order."""
    data = load(photographs(tmp_path, count=4))
    assert paths(data.test_x) == ["cats/IMG_0001.jpg", "dogs/IMG_0001.jpg"]
    assert [path.split("_")[-1] for path in paths(data.train_x)] == [f"000{at}.jpg" for at in (0, 3, 2, 2, 3, 0)]


def test_a_scan_lists_what_is_there(tmp_path: Path) -> None:
    root = photographs(tmp_path / "a", count=2)
    Image.new("L", (4, 4)).save(root / "x.png")
    tree = scan(root)
    assert tree.images == ["cats/IMG_0000.jpg", "cats/IMG_0001.jpg", "dogs/IMG_0000.jpg", "dogs/IMG_0001.jpg", "x.png"]
    assert tree.folders() == {"cats": tree.images[:2], "dogs": tree.images[2:4]}
    shutil.copytree(root, tmp_path / "b" / "inner")
    assert list(scan(tmp_path / "b").folders("inner/")) == ["cats", "dogs"]
