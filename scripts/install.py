"""Install this project in place: exactly what is locked where the locks are for this machine, else within the ranges.

    python scripts/install.py            # dashboard, notebooks, tests; then the weights and texts that packages bring
    python scripts/install.py flower     # what Flower needs beside that

`locks/*.txt` say which files, by SHA-256; their first line says for which machines. Weights and texts come last and by
themselves, since each is one release of one person: without them everything else is installed all the same. Needs
nothing but Python and pip, and runs in the environment that it installs into.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "locks"
# Each lock: the extras of pyproject.toml that it installs. `carried` brings weights and texts.
EXTRAS = {"main": ("app", "notebooks", "test"), "carried": ("text", "weights"), "flower": ("flower",)}
HEADER = "# CPython {}.{} on Linux {}, glibc {}.{} or newer; `make lock` makes it from the ranges in pyproject.toml"
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]


def lock_file(name: str) -> Path:
    """Where a lock lies."""
    return LOCKS / f"{name}.txt"


def unlike(header: str) -> str | None:
    """What of this machine is not as the lock's first line says it, None if all is."""
    words = re.fullmatch(re.escape(HEADER).replace(r"\{\}", r"(\w+)"), header)
    if words is None:
        raise ValueError(f"{header!r} does not say for which machines the lock is: run `make lock`")
    libc, version = platform.libc_ver()
    python = (platform.python_implementation(), *map(str, sys.version_info[:2]))
    if python != ("CPython", words[1], words[2]):
        return f"this is {python[0]} {python[1]}.{python[2]}"
    if (sys.platform, platform.machine()) != ("linux", words[3]):
        return f"this is {platform.system()} on {platform.machine()}"
    if libc != "glibc" or tuple(map(int, version.split(".")[:2])) < (int(words[4]), int(words[5])):
        return f"its C library is {libc or 'not glibc'} {version}".rstrip()
    return None


def install_locked(name: str) -> None:
    """The files that a lock names, and no others: nothing is resolved. pip comes first, to install the rest."""
    lines = lock_file(name).read_text(encoding="utf-8").splitlines()
    pip = [line for line in lines if line.startswith("pip==")]
    rest = [line for line in lines if line not in pip]
    for part in filter(None, (pip, rest)):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "requirements.txt")
            file.write_text("\n".join(part), encoding="utf-8")
            subprocess.run([*PIP, "--no-deps", "--require-hashes", "--requirement", str(file)], check=True)


def install_ranges(name: str) -> None:
    """The newest within pyproject.toml's ranges."""
    extras = ",".join(EXTRAS[name])
    subprocess.run([*PIP, "--editable", f"{ROOT}[{extras}]"], check=True)


def install(name: str) -> None:
    """What a lock is for. CalledProcessError if it cannot be had."""
    other = unlike(lock_file(name).read_text(encoding="utf-8").partition("\n")[0])
    if other is None:
        install_locked(name)
    else:
        print(
            f"No lock for this machine ({other}): the newest within pyproject.toml's ranges are installed", flush=True
        )
        install_ranges(name)
    if name == "main" and other is None:
        quiet = os.environ | {"PYTHONWARNINGS": "ignore"}  # setuptools' about editable packages
        subprocess.run([*PIP, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)], check=True, env=quiet)


def main() -> int:
    names = sys.argv[1:] or ["main", "carried"]
    for name in names:
        try:
            install(name)
        except subprocess.CalledProcessError as error:
            if name != "carried":
                return int(error.returncode)
            print(
                "Weights and texts could not be installed; pip says why above. All else works: recorded runs open, and "
                "`deltamask doctor` says how to get what is missing",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
