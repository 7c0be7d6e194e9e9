"""Write `locks/*.txt`: which files `make` installs, by SHA-256, resolved by pip from the ranges in pyproject.toml.

    python scripts/lock.py                       # the newest that fit together; installs nothing
    python scripts/lock.py -- -c versions.txt    # what follows the dashes is given to pip

Run it with the Python, on the machine and with the index that the lock is for. Then `make test`, and commit both.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.install import EXTRAS, HEADER, ROOT, lock_file

TOOLS = ("pip", "setuptools>=77")  # what installs the project itself
OLDEST_GLIBC = (2, 28)  # of the machines that the newest wheels are for, where no file asks for a newer one
Chosen = Mapping[str, dict[str, Any]]  # pip's report by canonical name


def resolve(options: Iterable[str]) -> Chosen:
    """What pip would install for all extras together, so that the locks agree with each other."""
    extras = ",".join(extra for some in EXTRAS.values() for extra in some)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        subprocess.run(
            [*command, "--report", str(report), *options, f"{ROOT}[{extras}]", *TOOLS], check=True
        )  # fmt: skip
        return by_name(json.loads(report.read_text()))


def by_name(report: dict[str, Any]) -> Chosen:
    """pip's report, a package each."""
    return {canonicalize_name(entry["metadata"]["name"]): entry for entry in report["install"]}


def needed(chosen: Chosen, roots: Iterable[str]) -> set[str]:
    """The packages that requirements lead to, these included, by canonical name."""
    found: set[tuple[str, str]] = set()
    waiting = [Requirement(root) for root in roots]
    while waiting:
        asked = waiting.pop()
        name = canonicalize_name(asked.name)
        for extra in {"", *asked.extras} - {extra for known, extra in found if known == name}:
            found.add((name, extra))
            for line in chosen[name]["metadata"].get("requires_dist", []):
                inner = Requirement(line)
                if inner.marker is None or inner.marker.evaluate({"extra": extra}):
                    waiting.append(inner)
    return {name for name, _ in found}


def glibc(chosen: Chosen) -> tuple[int, int]:
    """The oldest C library that all chosen files are for."""
    tags = (re.findall(r"manylinux_(\d+)_(\d+)_", entry["download_info"]["url"]) for entry in chosen.values())
    return max([OLDEST_GLIBC, *(min((int(a), int(b)) for a, b in some) for some in tags if some)])


def line(entry: dict[str, Any]) -> str:
    """A package as pip's requirements files have it."""
    name = canonicalize_name(entry["metadata"]["name"])
    digest = entry["download_info"]["archive_info"]["hashes"]["sha256"]
    return f"{name}=={entry['metadata']['version']} --hash=sha256:{digest}"


def locks(chosen: Chosen) -> dict[str, list[str]]:
    """The lines of each lock. What the main one has stands in no other."""
    closures = {
        name: needed(chosen, [f"deltamask[{','.join(extras)}]", *(TOOLS if name == "main" else ())])
        for name, extras in EXTRAS.items()
    }
    header = HEADER.format(*sys.version_info[:2], platform.machine(), *glibc(chosen))
    return {
        name: [header, *(line(chosen[one]) for one in sorted(closure - {"deltamask"} - _before(name, closures)))]
        for name, closure in closures.items()
    }


def _before(name: str, closures: Mapping[str, set[str]]) -> set[str]:
    return set() if name == "main" else closures["main"]


def main() -> None:
    for name, lines in locks(resolve(word for word in sys.argv[1:] if word != "--")).items():
        lock_file(name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"{lock_file(name).relative_to(ROOT)}: {len(lines) - 1} packages")


if __name__ == "__main__":
    main()
