"""The small study, run once for all tests of this folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from deltamask.runs.folder import RunFolder
from deltamask.runs.runner import execute
from deltamask.studies.experiments import read_experiment
from tests.support.study import DOCUMENT, FILE


@pytest.fixture(scope="session")
def study(tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with experiments/, runs/small/ (nine finished runs) and results.md."""
    root = tmp_path_factory.mktemp("study")
    (root / "experiments").mkdir()
    (root / "experiments" / "small.toml").write_text(FILE)
    (root / "results.md").write_text(DOCUMENT)
    for trial in read_experiment(root / "experiments" / "small.toml").trials:
        folder = RunFolder.create(root / "runs" / trial.folder, trial.config)
        execute(folder, trial.config, on_record=lambda record: None, show=lambda what, done, total: None)
    return root


@pytest.fixture
def copied(study: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(study, tmp_path / "study"))
