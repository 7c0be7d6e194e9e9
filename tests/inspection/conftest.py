"""A small recorded run, shared by the tests of its inspection."""

from __future__ import annotations

from pathlib import Path

import pytest

from deltamask.runs.reader import Run
from tests.support import tiny
from tests.support.recorded import record_run


@pytest.fixture(scope="session")
def run(tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two rounds of four clients on digits; κ = 0.6, so that some flips are held back. Do not change its folder."""
    return record_run(tiny.config(kappa=0.6), tmp_path_factory.mktemp("runs") / "one")
