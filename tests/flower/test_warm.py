"""A SuperNode's program for each message is answered by a fork that has imported everything."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("flwr", reason="`make test-federation` installs it")

pytestmark = pytest.mark.federation
ROOT = Path(__file__).resolve().parents[2]
FLOWERS_OWN = Path(sys.executable).with_name("flwr-clientapp")


def warm(tmp_path: Path, node: str, **more: str) -> subprocess.Popen[str]:
    """The process, with a shell script in the SuperNode's place."""
    path = os.pathsep.join([str(FLOWERS_OWN.parent), os.environ["PATH"]])
    places = os.pathsep.join(map(str, (tmp_path, ROOT, ROOT / "flower_app")))
    ours = {"PATH": path, "PYTHONPATH": places, "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    environment = {**os.environ, **ours, **more}
    command = [sys.executable, "-m", "deltamask_flower.warm", "sh", "-c", node]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip


def test_forks_say_what_flowers_own_program_says_and_the_nodes_status_is_passed_on(tmp_path: Path) -> None:
    node = """
    flwr-clientapp --help
    flwr-clientapp --nonsense
    exit 7
    """
    process = warm(tmp_path, node)
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 7
    own = subprocess.run([FLOWERS_OWN, "--help"], capture_output=True, text=True, env={**os.environ, "COLUMNS": "80"})
    assert said.startswith(own.stdout)
    assert "error: one of the arguments --token --token-file is required" in said
    assert not list(tmp_path.glob("deltamask-*")), "its own folder is gone"


def test_with_nobody_to_ask_it_is_flowers_own_program(tmp_path: Path) -> None:
    process = warm(tmp_path, "command -v flwr-clientapp; exec sleep 600")
    assert process.stdout is not None
    program = process.stdout.readline().strip()
    assert program != str(FLOWERS_OWN)
    process.kill()  # the SuperNode outlives it
    process.wait()
    said = [
        subprocess.run([each, "--help"], capture_output=True, text=True, check=True).stdout
        for each in (program, FLOWERS_OWN)
    ]
    os.killpg(process.pid, signal.SIGKILL)
    assert said[0] == said[1]


def test_a_service_managers_signal_reaches_the_node(tmp_path: Path) -> None:
    process = warm(tmp_path, "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=240) == 3
    assert not list(tmp_path.glob("deltamask-*"))


def test_a_signal_that_comes_before_there_is_a_node_is_kept_for_it(tmp_path: Path) -> None:
    """Between its folder and the node's process: the folder would stay behind, and the node run on without it."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, subprocess\n"
        "class Early(subprocess.Popen):\n"
        "    def __init__(self, *a, **k):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        super().__init__(*a, **k)\n"
        "subprocess.Popen = Early\n"
    )
    process = warm(tmp_path, "sleep 600")
    assert process.wait(timeout=240) == 128 + signal.SIGTERM, "the node was ended, and its end is passed on"
    assert not list(tmp_path.glob("deltamask-*"))


def test_for_a_node_that_has_ended_nothing_more_is_imported(tmp_path: Path) -> None:
    process = warm(tmp_path, "exit 5", PYTHONPROFILEIMPORTTIME="1")
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 5
    assert "| numpy\n" in said
    assert "| timm\n" not in said


def test_without_flower_it_says_what_to_install(tmp_path: Path) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    shutil.copy(shutil.which("true") or "/bin/true", bare / "true")
    done = subprocess.run(
        [sys.executable, "-m", "deltamask_flower.warm", "true"], capture_output=True, text=True,
        env={"PATH": str(bare), "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "flower_app")])},
    )  # fmt: skip
    assert done.returncode == 2
    assert "pip install -e '.[flower]'" in done.stdout
