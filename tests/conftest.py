"""Shared by all tests: reproducible Hypothesis runs, and folders of our own instead of the user's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.browsing import browser, context, page, server

__all__ = ["browser", "context", "page", "server", "tiny_cache"]

settings.register_profile("reproducible", deadline=None, derandomize=True, database=None)
settings.load_profile("reproducible")


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A feature cache for the whole session, shared with the subprocesses that tests start."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DELTAMASK_CACHE", str(folder))
        yield folder
