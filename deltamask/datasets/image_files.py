"""Image files, decoded when they are needed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from deltamask.datasets.spec import DatasetError, Images


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
        """One image, as `decode` gives it, or a part of the files."""
        return ImageFiles(self.root, self.paths[at]) if isinstance(at, slice) else self.decode(at)

    def decode(self, at: int, short_side: int = 0) -> Images:
        """One image, (height, width, 3) uint8, upright as its camera meant it. BrokenImage.

        short_side: pixels that are enough. A JPEG with twice as many or more is decoded at a half, a quarter or an
        eighth of its size, which leaves at least as many, and saves most of the time and memory a photograph takes.
        """
        from PIL import Image, ImageOps

        path = self.root / self.paths[at]
        try:
            with Image.open(path) as image:
                if short_side:
                    image.draft(None, (short_side, short_side))
                return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        except (FileNotFoundError, PermissionError) as error:  # of the folder or the disk: skipping is no cure
            raise DatasetError(f"{path}: cannot be read ({error.strerror})") from error
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise BrokenImage(
                f"{path}: no image that can be read ({error}); replace or remove it, or leave such images out with "
                "--bad-images skip"
            ) from error

    def source(self, at: int) -> str:
        """The file's path."""
        return str(self.root / self.paths[at])

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
