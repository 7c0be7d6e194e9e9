"""What stands beside the images of a dataset: MATLAB's files, and names in text files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deltamask.datasets.spec import DatasetError


def read_mat(path: Path, *names: str) -> dict[str, Any]:
    """Variables of a MATLAB file. DatasetError if it is torn, foreign or lacks one."""
    from scipy.io import loadmat

    try:
        content: dict[str, Any] = loadmat(path, variable_names=names, squeeze_me=True)
    except Exception as error:  # SciPy passes on whatever it stumbles over, an IndexError among them
        raise DatasetError(f"{path}: cannot be read as a MATLAB file ({error}); get the file again") from error
    for name in names:
        if name not in content:
            raise DatasetError(f"{path}: has no {name!r}; get the file again")
    return content


def read_words(path: Path) -> list[str]:
    """The words of a text file. DatasetError if it cannot be read as one, or is empty."""
    try:
        words = path.read_text("utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read as text ({error}); get the file again") from error
    if not words:
        raise DatasetError(f"{path}: is empty; get the file again")
    return words
