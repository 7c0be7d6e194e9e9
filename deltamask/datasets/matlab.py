"""MATLAB's files, read with SciPy."""

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
