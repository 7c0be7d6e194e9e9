"""What lies in a folder of images: every file is used, or counted and named."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from deltamask.base.names import shown
from deltamask.datasets.pictures import suffixes
from deltamask.datasets.spec import DatasetError

# Folders that systems and programs leave among photographs. Those whose name begins with a dot are left out as well.
SYSTEM_FOLDERS = frozenset({
    "__macosx", "@eadir", "@__thumb", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot", "$recycle.bin",
    "recycler", "recycled", "system volume information", "lost+found", "network trash folder", "temporary items",
    "thumbnails", "thumbs", "_thumbs", "_thumbnails", "picasaoriginals", "__pycache__", "cvs",
})  # fmt: skip
SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "picasa.ini", "icon\r"})
# Pictures in formats that Pillow does not read without more: whoever has them wants to know what to do.
UNREAD = frozenset({
    ".heic", ".heif", ".hif", ".avif", ".jxl", ".webp", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2",
    ".psd", ".svg", ".eps", ".ico", ".exr", ".hdr", ".dcm", ".nii", ".raw",
})  # fmt: skip
NAMED = 3  # kinds or names that a sentence lists
KINDS = 12  # kinds that a note lists, and how long the name of one may be
KIND = 60
HIDDEN = "hidden and system files"


@dataclass
class ImageTree:
    """The image files under a folder, and what else is there.

    images: paths relative to `root`, with `/`, sorted. left_out: how many files of each kind are not used; a kind is an
    ending (`.HEIC`), a folder (`@eaDir/`), or a few words.
    """

    root: Path
    images: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def folders(self, under: str = "") -> dict[str, list[str]]:
        """{name: images below it} of the folders directly below `under`, which is empty or ends in `/`."""
        return by_folder((path for path in self.images if path.startswith(under)), under.count("/"))

    def use_only(self, used: Iterable[str], why: str) -> None:
        """Count the other images as left out."""
        kept = set(used)
        self.left_out[why] += len(self.images) - len(kept)
        self.images = [path for path in self.images if path in kept]
        self.left_out += Counter()  # drops what is zero

    def note(self) -> str | None:
        """A sentence on what is not used; None where everything is."""
        if not self.left_out:
            return None
        kinds = [f"{count:,} {kind[:KIND]}" for kind, count in self.left_out.most_common(KINDS)]
        if others := sum(self.left_out.values()) - sum(count for _, count in self.left_out.most_common(KINDS)):
            kinds.append(f"{others:,} of other kinds")
        said = f"{shown(self.root)}: not used: {', '.join(kinds)}"
        endings = {kind.lower() for kind in self.left_out} & UNREAD
        if not endings:
            return said
        heic = ", or install pillow-heif" if endings & {".heic", ".heif"} else ""
        return f"{said} (convert {', '.join(sorted(endings))} to JPEG or PNG{heic})"


def by_folder(paths: Iterable[str], depth: int) -> dict[str, list[str]]:
    """{name: paths below it} of the folders at a depth: 0 is a path's first part. Files at that depth are left out."""
    found: dict[str, list[str]] = {}
    for path in paths:
        parts = path.split("/", depth + 1)
        if len(parts) > depth + 1:
            found.setdefault(parts[depth], []).append(path)
    return found


def scan(root: Path) -> ImageTree:
    """Everything under `root`; links are followed. DatasetError where a folder cannot be listed."""
    tree = ImageTree(root)
    Above = frozenset[tuple[int, int]]  # the folders that one lies in, as the file system numbers them
    to_do: list[tuple[Path, str, str, Above]] = [(root, "", "", frozenset())]
    while to_do:
        folder, prefix, hidden_in, above = to_do.pop()
        try:
            about = folder.stat()
            with os.scandir(folder) as entries:
                listed = list(entries)
        except OSError as error:
            raise DatasetError(f"{shown(folder)}: cannot be listed ({error.strerror})") from error
        number = (about.st_dev, about.st_ino)
        if number in above and about.st_ino:
            tree.left_out["links in a circle"] += 1
            continue
        for entry in listed:
            try:
                mode = entry.stat().st_mode
            except OSError:
                tree.left_out["broken links"] += 1
                continue
            if stat.S_ISDIR(mode):
                within = hidden_in or (shown(entry.name) + "/" if is_hidden(entry.name, SYSTEM_FOLDERS) else "")
                to_do.append((Path(entry.path), f"{prefix}{entry.name}/", within, above | {number}))
            elif kind := hidden_in or _left_out(entry.name, mode):
                tree.left_out[kind] += 1
            else:
                tree.images.append(prefix + entry.name)
    tree.images.sort()
    return tree


def is_hidden(name: str, system: frozenset[str]) -> bool:
    """Is it what a system or a program keeps for itself?"""
    return name.startswith(".") or name.lower() in system


def _left_out(name: str, mode: int) -> str:
    """Why a file is not used; empty for an image."""
    if is_hidden(name, SYSTEM_FILES):
        return HIDDEN
    if not stat.S_ISREG(mode):
        return "pipes and devices"
    ending = PurePosixPath(name).suffix
    if ending.lower() in suffixes():
        return ""
    return shown(ending) or "without an ending"
