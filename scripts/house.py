"""The map of the house in CONTRIBUTING.md, made from the folders' and files' own docstrings.

python scripts/house.py            # writes the section between its two marks; a test holds it to that
"""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- map: python scripts/house.py -->", "<!-- /map -->"


def folders() -> list[str]:
    """The package's folders in dependency order, the lowest first, as the import contract has them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if "containers" not in contract and "layers" in contract]
    return [layer.replace(".", "/") for layer in reversed(layers)]


def says(file: Path) -> str:
    """The first line of a file's docstring."""
    return (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]


def lines(folder: Path, depth: int = 0) -> list[str]:
    """A folder's line, with its files by name, then those of the folders in it."""
    files = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("__"))
    inner = sorted(path.parent for path in folder.glob("*/__init__.py"))
    name = folder.relative_to(ROOT).as_posix() + "/"
    found = [f"{'  ' * depth}- **`{name}`** {says(folder / '__init__.py')}  \n{'  ' * depth}  {', '.join(files)}"]
    return found + [line for part in inner for line in lines(part, depth + 1)]


def section() -> str:
    """The map, as Markdown."""
    return "\n".join(line for folder in folders() for line in lines(ROOT / folder))


if __name__ == "__main__":
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{section()}\n\n{END}{after}")
