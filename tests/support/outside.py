"""A package from outside, as a researcher would write it; its method is the one that docs/extending.md shows."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "extending.md"


def blocks(page: Path = PAGE) -> list[str]:
    """The Python blocks of a page, in their order."""
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def write_package(place: Path) -> Path:
    """Put the package `toy` into a folder that may stand on a path; returns the folder."""
    shutil.copytree(Path(__file__).parent / "toy_package", place, dirs_exist_ok=True)
    (method,) = [block for block in blocks() if 'methods.register("toy")' in block]
    (place / "toy" / "method.py").write_text(method)
    return place


def environment(package: Path) -> dict[str, str]:
    """The environment of a process that finds the package, and this repository."""
    path = os.pathsep.join([str(package), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "120"}
