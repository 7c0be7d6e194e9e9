"""Processes of ours are started in one place."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from deltamask.config import RunConfig
from deltamask.runs import StoreError, launch

ROOT = Path(__file__).resolve().parents[2]
COMMAND_NAMES = ("deltamask.cli", "deltamask.cli.commands", "deltamask.cli.__main__")
SPAWNERS = ("Popen", "run", "call", "check_call", "check_output", "execv", "execvp", "spawnv", "system")
ECHO = [sys.executable, "-c", "import sys, os; print(sys.argv[1:], os.environ.get('OMP_NUM_THREADS'))"]


def spawns_ours(source: str) -> bool:
    """Does this code start a process with `-m deltamask.cli`, or with a command called `deltamask`?"""
    for node in ast.walk(ast.parse(source)):
        words = {
            each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)
        }
        if isinstance(node, ast.List | ast.Tuple) and "-m" in words and words & set(COMMAND_NAMES):
            return True
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            first = node.args[0] if node.args else None
            start = first.elts[0] if isinstance(first, ast.List | ast.Tuple) and first.elts else first
            if name in SPAWNERS and isinstance(start, ast.Constant) and str(start.value).split(" ")[0] == "deltamask":
                return True
    return False


def test_no_other_module_starts_the_command() -> None:
    folders = ("deltamask", "app", "flower_app", "scripts", "benchmarks")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py") if spawns_ours(path.read_text())]
    assert [path.relative_to(ROOT).as_posix() for path in found] == ["deltamask/runs/launch.py"]


@pytest.mark.parametrize(
    "source",
    ['Popen([python, "-m", "deltamask.cli", *words])', 'subprocess.run(["deltamask", "run"])',
     'os.system("deltamask run")', 'COMMAND = (sys.executable, "-m", "deltamask.cli")'],
)  # fmt: skip
def test_a_second_launcher_would_be_found(source: str) -> None:
    assert spawns_ours(source)
    assert not spawns_ours("from deltamask.cli import main\nprint('deltamask run')")


def test_a_run_is_started_with_what_differs_from_the_defaults(tmp_path: Path) -> None:
    config = RunConfig(kappa=0.5, dataset="folder:/a b")
    log = tmp_path / "log"
    assert launch.start(config, tmp_path / "run", log, threads=3, command=ECHO).wait(60) == 0
    assert launch.resume(tmp_path / "run", log, command=ECHO).wait(60) == 0
    started, resumed = log.read_text().splitlines()
    words = ["run", "--dataset", "folder:/a b", "--kappa", "0.5", "--out", str(tmp_path / "run")]
    assert started == f"{words} 3"
    assert resumed.startswith(str(["resume", str(tmp_path / "run")]))


def test_what_cannot_be_started_says_so(tmp_path: Path) -> None:
    for name in ("folder:\0", "folder:\ud800"):
        config = RunConfig.model_construct(**{**RunConfig().model_dump(), "dataset": name})
        with pytest.raises(StoreError, match="the run cannot be started"):
            launch.start(config, tmp_path, tmp_path / "log")
    with pytest.raises(StoreError, match=r"the run cannot be started.*nowhere"):
        launch.resume(tmp_path, tmp_path / "nowhere" / "log")
    with pytest.raises(StoreError, match="No such file"):
        launch.resume(tmp_path, tmp_path / "log", command=["/no/such/program"])


def test_an_answer_is_what_was_printed_or_what_was_complained_of() -> None:
    assert launch.answer(["a", "b"], timeout=60, command=ECHO).startswith("['a', 'b']")
    fail = [sys.executable, "-c", "import sys; print('x' * 5000 + 'no such run', file=sys.stderr); sys.exit(1)"]
    with pytest.raises(StoreError, match=r"no such run$") as caught:
        launch.answer(["what-if"], timeout=60, command=fail)
    assert len(str(caught.value)) == launch.COMPLAINT
    silent = [sys.executable, "-c", "raise SystemExit(3)"]
    with pytest.raises(StoreError, match="ended with status 3"):
        launch.answer(["what-if"], timeout=60, command=silent)
    with pytest.raises(StoreError, match="deltamask what-if: TimeoutExpired"):
        launch.answer(["what-if"], timeout=0.1, command=[sys.executable, "-c", "import time; time.sleep(60)"])
