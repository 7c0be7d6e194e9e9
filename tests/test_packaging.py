"""What is installed: dependencies, the public names, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import deltamask

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())
NAMED = ["jupyterlab", "numpy", "pandas", "plotly", "pyfusefilter", "streamlit", "torch", "torchvision"]


def environment_requirement() -> Requirement:
    """What conda's pip installs: this project in place, with extras."""
    (pip,) = [entry["pip"] for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict)]
    (line,) = pip
    assert line.startswith("-e .")
    return Requirement(line.replace("-e .", PROJECT["name"], 1))


def test_environment_takes_a_python_that_the_project_supports() -> None:
    (python,) = [entry for entry in ENVIRONMENT["dependencies"] if str(entry).startswith("python=")]
    assert SpecifierSet(PROJECT["requires-python"]).contains(python.removeprefix("python=") + ".0")
    assert "pip" in ENVIRONMENT["dependencies"]


def test_environment_asks_for_extras_that_exist() -> None:
    extras = environment_requirement().extras
    assert extras == {"app", "notebooks", "test", "text", "weights"}
    assert extras <= PROJECT["optional-dependencies"].keys()


@pytest.mark.parametrize("package", NAMED)
def test_environment_installs_the_packages_that_the_mission_names(package: str) -> None:
    lines = PROJECT["dependencies"] + [
        line for extra in environment_requirement().extras for line in PROJECT["optional-dependencies"][extra]
    ]
    assert package in {canonicalize_name(Requirement(line).name) for line in lines}


def test_public_names_are_pinned_and_all_there() -> None:
    expected = [
        "Observer", "RunConfig", "backbones", "codecs", "datasets", "decode_flips", "list_runs", "load_run",
        "make_task", "methods", "metrics", "run", "simulate",
    ]  # fmt: skip
    assert deltamask.__all__ == expected
    for name in expected:
        assert getattr(deltamask, name) is not None
    for name in ("backbones", "codecs", "datasets", "methods"):
        module = getattr(deltamask, name)
        assert module.__name__ == f"deltamask.{name}"
        assert module.names(), name
        assert module.get(module.names()[0]) is not None
    with pytest.raises(AttributeError, match="no attribute 'simulat'"):
        deltamask.simulat  # noqa: B018


def test_files_that_are_no_python_are_installed() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    installed = {file for name, kinds in patterns.items() for kind in kinds
                 for file in (ROOT / name.replace(".", "/")).glob(kind)}  # fmt: skip
    files = {file for file in (ROOT / "deltamask").rglob("*") if file.is_file() and "__pycache__" not in file.parts}
    others = {file for file in files if file.suffix != ".py"}
    assert others == installed != set()


def test_light_modules_load_neither_torch_nor_the_dashboard_nor_flower() -> None:
    names = (
        "config config.presets backbones datasets datasets.partitions codecs codecs.updates task.feature_cache "
        "downlink masking.masks simulation.ledger runs.reader runs.folder runs.export inspection.recorded_payload "
        "teaching.walkthrough teaching.predictions plots.payload_charts runs.import_zip runs.queue cli.commands"
    )
    modules = ", ".join(f"deltamask.{name}" for name in names.split())
    code = (
        f"import sys, deltamask, {modules}\n"
        "deltamask.RunConfig(), deltamask.list_runs, deltamask.codecs\n"
        "print([name for name in ('torch', 'torchvision', 'timm', 'streamlit', 'flwr') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "[]"
