"""Locks: who holds one is seen from any process, and on file systems that know no locks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import filelock
import pytest

from deltamask.base.locks import is_held

HOLD = """
import sys, filelock
with filelock.FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""
WITHOUT_FLOCK = """
import errno, fcntl
def flock(handle, what):
    raise OSError(errno.ENOSYS, "no such locks here")
fcntl.flock = flock
"""
LOOK = """
import sys
from pathlib import Path
from deltamask.base.locks import is_held
print(is_held(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("system", ["", WITHOUT_FLOCK], ids=["flock", "no-flock"])
def test_a_lock_is_seen_while_it_is_held_and_not_after(tmp_path: Path, system: str) -> None:
    path = tmp_path / "run.lock"

    def look() -> str:
        code = [sys.executable, "-c", system + LOOK, str(path)]
        return subprocess.run(code, capture_output=True, text=True, check=True).stdout.strip()

    assert look() == "False"
    with subprocess.Popen(
        [sys.executable, "-c", system + HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert look() == look() == "True"
        holder.communicate()
    assert look() == "False"


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert is_held(path)
        holder.kill()
        holder.wait()
    assert not is_held(path)


def test_many_may_look_at_once_and_nobody_is_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    path.touch()
    with open(path) as other:
        import fcntl

        fcntl.flock(other, fcntl.LOCK_SH)  # another one that looks
        assert not is_held(path)
    with filelock.FileLock(path, timeout=0):
        assert is_held(path)
