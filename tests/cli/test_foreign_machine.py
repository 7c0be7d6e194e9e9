"""Machines that are shared, read-only or full: a run ends as elsewhere, or says which path and what to do."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deltamask import load_run
from deltamask.base import paths
from deltamask.base.files import write_atomic
from deltamask.cli import main
from deltamask.runs.folder import RunFolder
from tests.support import tiny
from tests.support.commands import COMMAND, PATIENCE, quiet, uninterrupted
from tests.support.foreign import ROOT, installation, obey_permissions, read_only, writable
from tests.support.tiny import flags, timeless

CONFIG = tiny.config(rounds=2, clients=2, train_samples=100, test_samples=50, probe_epochs=2, codec="gap")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = installation(tmp_path_factory.mktemp("site"))
    yield place
    writable(place)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "home"
    folder.mkdir()
    yield folder
    writable(folder)


def called(words: list[str], home: Path, place: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`deltamask …` of the installation in `place`, by somebody with this home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DELTAMASK", "NUMBA", "XDG"))}
    return subprocess.run(
        [*COMMAND, *words], cwd=home, capture_output=True, text=True, timeout=4 * PATIENCE, preexec_fn=obey_permissions,
        env={**kept, "HOME": str(home), "PYTHONPATH": f"{place}:{ROOT}", "DELTAMASK_DATA": str(ROOT / "data"),
             **environment},
    )  # fmt: skip


def assert_whole(path: Path) -> None:
    run = load_run(path)
    assert run.state == "finished"
    assert [timeless(record) for record in run.records] == uninterrupted(CONFIG)


def test_from_an_empty_home(tiny_cache: Path, tmp_path: Path, home: Path) -> None:
    answer = called(["run", *flags(CONFIG), "--out", str(tmp_path / "run")], home, ROOT)
    assert answer.returncode == 0, answer.stderr
    assert [path.name for path in home.iterdir()] == [".cache"]
    assert_whole(tmp_path / "run")


def test_from_an_installation_and_a_home_that_cannot_be_written(
    tiny_cache: Path, tmp_path: Path, home: Path, installed: Path
) -> None:
    read_only(home)
    cache = tmp_path / "cache"
    words = ["run", *flags(CONFIG), "--out", str(tmp_path / "run")]
    answer = called(words, home, installed, DELTAMASK_CACHE=str(cache))
    assert answer.returncode == 0, answer.stderr
    assert list((cache / "kernels").rglob("*.nbi"))  # Numba's
    assert not list(installed.rglob("__pycache__"))
    assert_whole(tmp_path / "run")


def test_a_cache_that_cannot_be_written_is_named_with_what_to_do(tmp_path: Path, home: Path, installed: Path) -> None:
    read_only(home)
    answer = called(["run", *flags(CONFIG), "--out", str(tmp_path / "run")], home, installed)
    assert answer.returncode == 1
    assert str(home / ".cache") in answer.stderr
    assert "let DELTAMASK_CACHE name a folder that can" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not (tmp_path / "run").exists()


def test_where_no_run_can_be_written_is_named_with_what_to_do(tmp_path: Path, home: Path) -> None:
    read_only(home)
    answer = called(["run", *flags(CONFIG)], home, ROOT, DELTAMASK_CACHE=str(tmp_path / "cache"))
    assert answer.returncode == 1
    assert "'runs'" in answer.stderr
    assert "let --out, or DELTAMASK_RUNS for all runs, name a folder that can" in answer.stderr


def test_a_full_disk_is_named_with_what_to_do(tmp_path: Path) -> None:
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000)); "
        "import tests.support.tiny, deltamask.cli as c; raise SystemExit(c.main())"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, "run", *flags(CONFIG), "--out", str(tmp_path / "run")], cwd=ROOT,
        capture_output=True, text=True, timeout=4 * PATIENCE,
        env={**os.environ, "DELTAMASK_CACHE": str(tmp_path / "cache")},
    )  # fmt: skip
    assert answer.returncode == 1
    assert str(tmp_path / "cache" / "features") in answer.stderr
    assert "make room on its disk, or let DELTAMASK_CACHE name a folder on another" in answer.stderr


def test_without_a_home_it_says_which_variable_to_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def homeless() -> Path:  # as Python answers a user whom no file knows
        raise RuntimeError("Could not determine home directory.")

    for name in ("DELTAMASK_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert main(["cache", "list"]) == 1
    assert "there is no home folder here: set DELTAMASK_CACHE" in capsys.readouterr().err
    assert "DELTAMASK_RUNS" in paths.remedy(OSError(errno.ENOSPC, "full", "somewhere"))


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600), (0o027, 0o640)])
def test_the_umask_says_who_may_read_a_run(tiny_cache: Path, tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        quiet(CONFIG, RunFolder.create(tmp_path / "run", CONFIG))
        with write_atomic(tmp_path / "again") as file:
            file.write(b"1")
        with write_atomic(tmp_path / "again") as file:
            file.write(b"2")
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in files} > {"again", "config.json", "rounds.jsonl", "state.safetensors", "status.json"}
    assert {oct(stat.S_IMODE(path.stat().st_mode)) for path in files} == {oct(mode)}


def test_doctor_says_where_kernels_are_kept(tmp_path: Path, home: Path, installed: Path) -> None:
    read_only(home)
    answer = called(["doctor", "--json"], home, installed, DELTAMASK_CACHE=str(tmp_path / "cache"))
    assert f'"kernels": "{tmp_path / "cache" / "kernels"}"' in answer.stdout
    answer = called(["doctor"], home, installed)
    assert "compiled kernels are kept nowhere" in answer.stdout
    assert "set NUMBA_CACHE_DIR" in answer.stdout
