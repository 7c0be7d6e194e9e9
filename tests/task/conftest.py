"""What tests of features share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deltamask import datasets
from deltamask.backbones.split import Backbone
from deltamask.datasets import ImageDataset
from tests.support import tiny
from tests.support.counting import Counter


@pytest.fixture(scope="session")
def digits() -> ImageDataset:
    """Real images, small ones."""
    return datasets.load("digits")


@pytest.fixture
def backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Backbone:
    """The tiny backbone, and an empty cache."""
    monkeypatch.setenv("DELTAMASK_CACHE", str(tmp_path))
    built = tiny.build(1)
    return replace(built, trunk=Counter(built.trunk))
