"""Shared by all tests: reproducible Hypothesis runs, our own folders instead of the user's, and what is collected."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.browsing import browser, page, server, visitor

__all__ = ["browser", "page", "server", "tiny_cache", "visitor"]

settings.register_profile("reproducible", deadline=None, derandomize=True, database=None)
settings.load_profile("reproducible")

APART = ("browser", "federation", "notebook")  # marks of the tests that have a target of their own


@functools.cache
def _names(file: Path, mark: str) -> bool:
    return f"mark.{mark}" in file.read_text()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m browser` and the like, files that do not name the mark are not imported, which takes ten seconds."""
    mark = config.option.markexpr
    test_file = collection_path.suffix == ".py" and collection_path.name.startswith("test_")
    return True if mark in APART and test_file and not _names(collection_path, mark) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where everything is collected: a test whose file does not name its mark would never run with `-m`."""
    for item in items:
        for mark in item.iter_markers():
            if mark.name in APART and not _names(item.path, mark.name):
                raise pytest.UsageError(f"{item.nodeid}: its file has to say `pytest.mark.{mark.name}`")


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A feature cache for the whole session, shared with the subprocesses that tests start."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DELTAMASK_CACHE", str(folder))
        yield folder
