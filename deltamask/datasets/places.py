"""Where datasets lie: folders laid out as torchvision's classes leave them, and what makes one complete."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deltamask.base.paths import data_dir, download_dir
from deltamask.datasets.spec import Classes, DatasetError, DatasetSpec, Download, ImageDataset, Labels


def roots() -> list[Path]:
    """The folders in which datasets are looked for. Each is laid out as torchvision's `root`."""
    return list(dict.fromkeys([data_dir(), download_dir()]))


@dataclass(frozen=True)
class Layout:
    """A folder under a root, and files (or folders) in it that make it complete. A name of a file may end in `.gz`."""

    folder: str
    files: tuple[str, ...]

    def missing(self, root: Path) -> list[str]:
        """The files that are not there."""
        return [name for name in self.files if existing(root / self.folder / name) is None]


def existing(path: Path) -> Path | None:
    """The file, or the same packed with gzip, or None."""
    return next((candidate for candidate in (path, path.with_name(path.name + ".gz")) if candidate.exists()), None)


def rooted(
    name: str,
    layouts: tuple[Layout, ...],
    read: Callable[[Path], ImageDataset],
    *,
    license: str,
    how_to_get: str,
    size_bytes: int,
    labels: Callable[[Path], tuple[Labels, Classes]] | None = None,
    groups: str | None = None,
    download: Download | None = None,
    places: Callable[[], list[Path]] = roots,
    unread: Mapping[str, str] | None = None,
) -> DatasetSpec:
    """The entry of a dataset that lies in one of `layouts` under one of `places`; `read` and `labels` get its folder.

    unread: folders in which people have the dataset in a form that is not read, and why not.
    """

    def where() -> Path | None:
        found = (root / layout.folder for root in places() for layout in layouts if not layout.missing(root))
        return next(found, None)

    def folder() -> Path:
        found = where()
        if found is not None:
            return found
        for root in places():
            for layout in layouts:
                lacking = layout.missing(root)
                if 0 < len(lacking) < len(layout.files):
                    raise DatasetError(
                        f"dataset {name!r}: {root / layout.folder} is incomplete, {', '.join(lacking[:3])} "
                        f"missing; complete it, or move it away and get it again: {how_to_get}"
                    )
            for other, reason in (unread or {}).items():
                if (root / other).is_dir():
                    raise DatasetError(f"dataset {name!r}: {root / other} is here, but {reason}: {how_to_get}")
        looked = " or ".join(layout.folder for layout in layouts if layout.folder)
        raise DatasetError(
            f"dataset {name!r} is not on this machine: {how_to_get} "
            f"(looked for {looked} in {' and '.join(map(str, places()))})"
        )

    def read_labels() -> tuple[Labels, Classes]:
        assert labels is not None
        return labels(folder())

    return DatasetSpec(
        read=lambda: read(folder()),
        where=where,
        license=license,
        how_to_get=how_to_get,
        size_bytes=size_bytes,
        labels=read_labels if labels else None,
        groups=groups,
        download=download,
    )
