"""The exported Flower project is this repository's app with the run's settings, and Flower can build it."""

from __future__ import annotations

import io
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from ui.flower_project import APP, project

from deltamask.base.paths import recorded_dir
from deltamask.config import RunConfig
from deltamask.runs.reader import list_runs

RUNS = list_runs(recorded_dir())


def unpacked(name: str, config: RunConfig, place: Path) -> Path:
    with zipfile.ZipFile(io.BytesIO(project(name, config))) as archive:
        assert all(each.startswith(f"{name}-flower/") for each in archive.namelist())
        archive.extractall(place)
    return place / f"{name}-flower"


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.id)
def test_its_settings_are_the_runs(run: object, tmp_path: Path) -> None:
    folder = unpacked(run.id, run.config, tmp_path)  # type: ignore[attr-defined]
    written = tomllib.loads((folder / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
    fields = {name: value for name, value in written.items() if name in RunConfig.model_fields}
    assert RunConfig(**fields) == run.config  # type: ignore[attr-defined]
    assert written["registered"] is True


def test_it_holds_the_apps_code() -> None:
    with zipfile.ZipFile(io.BytesIO(project("mine", RunConfig()))) as archive:
        code = {name: archive.read(name) for name in archive.namelist() if name.endswith(".py")}
    assert code == {
        f"mine-flower/deltamask_flower/{source.name}": source.read_bytes()
        for source in (APP / "deltamask_flower").glob("*.py")
    }


@pytest.mark.federation
def test_flower_builds_it(tmp_path: Path) -> None:
    pytest.importorskip("flwr", reason="`make test-federation` installs it")
    folder = unpacked("mine", RunConfig(kappa=0.25, method="fedpm"), tmp_path)
    flwr = Path(sys.executable).with_name("flwr")
    done = subprocess.run([flwr, "build", "--app", folder], cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = tmp_path.glob("*.fab")
    with zipfile.ZipFile(built) as archive:
        held = tomllib.loads(archive.read("pyproject.toml").decode())["tool"]["flwr"]["app"]["config"]
    assert (held["kappa"], held["method"]) == (0.25, "fedpm")
