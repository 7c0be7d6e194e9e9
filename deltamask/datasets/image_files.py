"""Image files, decoded when they are needed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from deltamask.base.names import raw, shown
from deltamask.datasets.pictures import read_picture
from deltamask.datasets.spec import DatasetError, Images

LISTED = 100  # files that a message names
REASON = 200  # characters of what a library says


class BrokenImage(DatasetError):
    """Image files that cannot be read. faults: a line for each, which names it."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        lines = list(self.faults[:LISTED])
        if len(self.faults) > 1:
            lines.insert(0, f"{len(self.faults):,} image files cannot be read:")
        if len(self.faults) > LISTED:
            lines.append(f"and {len(self.faults) - LISTED:,} more")
        lines[-1] += "; replace or remove what cannot be read, or leave it out with --bad-images skip"
        super().__init__("\n".join(lines))


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
        """One image, as `decode` gives it, or a part of the files."""
        return ImageFiles(self.root, self.paths[at]) if isinstance(at, slice) else self.decode(at)

    def decode(self, at: int, short_side: int = 0) -> Images:
        """One image, (height, width, 3) uint8, upright as its camera meant it, as `pictures` says. BrokenImage.

        short_side: pixels that are enough, and only of the middle; the answer's short side has as many at least, where
        the picture has them.
        """
        try:
            return read_picture(self.root / self.paths[at], short_side)
        except Exception as error:  # an image library raises whatever it stumbles over
            reason = shown(str(error) or type(error).__name__)[:REASON]
            raise BrokenImage([f"{self.source(at)}: no image that can be read ({reason})"]) from error

    def source(self, at: int) -> str:
        """The file's path."""
        return shown(self.root / self.paths[at])

    @property
    def fingerprint(self) -> str:
        """Hash of names, sizes and times of change."""
        return self._hash(timed=True)

    @property
    def content(self) -> str:
        """Hash of names and sizes: the same for a copy of the files."""
        return self._hash(timed=False)

    def _hash(self, timed: bool) -> str:
        digest = hashlib.sha256()
        for at, path in enumerate(self.paths):
            try:
                stat = (self.root / path).stat()
            except OSError as error:
                raise DatasetError(f"{self.source(at)}: is listed but cannot be read ({error.strerror})") from error
            when = f"{stat.st_mtime_ns}\0" if timed else ""
            digest.update(raw(f"{path}\0{stat.st_size}\0{when}"))
        return digest.hexdigest()
