"""The writing side of a run folder: what a run leaves on disk. Needs no torch.

config.json       the RunConfig, package version, git revision
task.json         d, layers, classes, and which client holds how many samples of each class
rounds.jsonl      one RoundRecord a line; a torn last line is ignored
state.safetensors the latest checkpoint, replaced atomically
status.json       state, pid, progress, replaced atomically
mark.json         its owner's star and note, if there are any; it stays when a run is exported
run.lock          held by the process that runs it: so one can tell whether there is one
control           what a user asked of the running process: run, pause, step or stop
payloads/         r0007-c03.png …, r0007-down.bin: what crossed the wire, up and down; r0007-c03.flips: what only the
                  client knew of it
payloads.zip      the same in one file, where a run was packed (`payloads.py`); no running process writes it
"""

from __future__ import annotations

import errno
import functools
import itertools
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeGuard

import psutil

from deltamask.base.files import TEMPORARY, is_being_written, naming, read_regular, write_atomic
from deltamask.base.paths import recorded_dir, runs_dir
from deltamask.config import RunConfig
from deltamask.runs import StoreError, checkpoint, jsonl
from deltamask.runs.stored import MAX_MESSAGE


@functools.cache
def provenance() -> dict[str, str | None]:
    """Package version and git revision, as stored with every run."""
    try:
        package = version("deltamask")
    except PackageNotFoundError:
        package = None
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
        revision: str | None = answer.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        revision = None
    return {"deltamask": package, "git_revision": revision}


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file atomically. NaN is refused: it is no JSON."""
    with write_atomic(path) as file:
        file.write(_json(value, indent=1))


def _json(value: Any, indent: int | None = None) -> bytes:
    """JSON that every reader takes: half a character, as in the name of a file that is no text, becomes `?`."""
    return json.dumps(value, indent=indent, allow_nan=False, ensure_ascii=False).encode(errors="replace")


@dataclass(frozen=True)
class RunFolder:
    """The writing side. One process at a time; `runner.py` holds the lock."""

    path: Path

    @classmethod
    def create(cls, path: Path, config: RunConfig) -> RunFolder:
        """A new folder. StoreError if it already holds a run."""
        if (path / "config.json").exists():
            raise StoreError(
                f"{path} already holds a run: `deltamask resume {path}` goes on with it, --out names another"
            )
        path.mkdir(parents=True, exist_ok=True)
        folder = cls(path)
        folder.write_status(state="starting")  # before the config, so that no reader takes the run for a dead one
        created = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(path / "config.json", {"config": config.model_dump(), **provenance(), "created": created})
        return folder

    def has_begun(self) -> bool:
        """Has its task been loaded? Before that there is nothing in it to go on from."""
        return (self.path / "task.json").exists()

    def remove(self) -> None:
        """Remove the folder and all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def append(self, record: dict[str, Any]) -> None:
        """Add a record. On failure (a full disk) the file is cut back, so that what was there stays whole."""
        line = _json(record) + b"\n"
        # Unbuffered: a buffer would write the rest of the line again when the file is closed, behind the cut.
        path = self.path / "rounds.jsonl"
        with naming(path), open(path, "ab", buffering=0) as file:
            end = file.tell()
            try:
                if (written := file.write(line)) != len(line):
                    raise OSError(errno.ENOSPC, f"only {written} of {len(line)} bytes could be written", file.name)
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise

    def rewind(self, round: int) -> None:
        """Drop records above `round` and a torn last line: the state of the latest checkpoint. The others stay as they
        are, byte for byte. StoreError if one of them is damaged."""
        path = self.path / "rounds.jsonl"
        count = min(round + 1, len(jsonl.read_records(path)))
        with write_atomic(path) as file:
            if count:
                with open(path, "rb") as before:
                    file.writelines(itertools.islice(before, count))

    def save_state(self, round: int, arrays: checkpoint.Arrays, config: RunConfig) -> None:
        """The checkpoint: the server's state after `round`."""
        checkpoint.save(self.path / "state.safetensors", round, arrays, config)

    def load_state(self, config: RunConfig) -> tuple[int, checkpoint.Arrays] | None:
        """(round, arrays) of the latest checkpoint, or None if there is none. StoreError if it is damaged, or was made
        with another config."""
        return checkpoint.load(self.path / "state.safetensors", config)

    def sweep(self) -> None:
        """Remove what processes that were killed had begun to write. Those of living ones are left alone."""
        for folder in (self.path, self.path / "payloads"):
            for path in folder.glob(f".*{TEMPORARY}"):
                if not is_being_written(path):
                    path.unlink(missing_ok=True)

    def write_payload(self, round: int, client: int, suffix: str, payload: bytes) -> None:
        """Keep one uplink message, or with another suffix what is known of it."""
        folder = self.path / "payloads"
        folder.mkdir(exist_ok=True)
        with write_atomic(folder / f"r{round:04d}-c{client:02d}{suffix}") as file:
            file.write(payload)

    def write_broadcast(self, round: int, message: bytes) -> None:
        """Keep the downlink message that opened a round."""
        folder = self.path / "payloads"
        folder.mkdir(exist_ok=True)
        with write_atomic(folder / f"r{round:04d}-down.bin") as file:
            file.write(message)

    def write_status(self, *, pid: int | None = None, **status: Any) -> None:
        """Replace `status.json`; pid (by default ours) and its start: of a process that may still be loading."""
        process = psutil.Process(pid)
        stamp = {"pid": process.pid, "pid_started": process.create_time()}
        heartbeat = datetime.now(UTC).isoformat(timespec="seconds")
        if "message" in status:
            status["message"] = str(status["message"])[:MAX_MESSAGE]
        write_json(self.path / "status.json", {**status, **stamp, "heartbeat": heartbeat})

    def control(self) -> str:
        """What the user last asked for: run, pause, step or stop."""
        try:
            word = read_regular(self.path / "control", 100).decode().strip()
        except (OSError, ValueError):
            return "run"
        return word if word in ("run", "pause", "step", "stop") else "run"

    def ask(self, word: str) -> None:
        """Ask the process that runs this folder to run, pause, step or stop."""
        with write_atomic(self.path / "control") as file:
            file.write(word.encode())


def new_folder(config: RunConfig, root: Path | None = None) -> Path:
    """A path for a new run: the run's id, or id-2, id-3 … where that is taken."""
    return free_name(root or runs_dir(), config.run_id)


def free_name(root: Path, name: str) -> Path:
    """A path below `root` that nothing has: `name`, or name-2, name-3 … A recorded run's name is taken everywhere, so
    that no other run is found in its place. StoreError if there is none."""
    for number in range(1, 10_000):
        path = root / (name if number == 1 else f"{name}-{number}")
        if not path.exists() and not (recorded_dir() / path.name).exists():
            return path
    raise StoreError(f"there are 9,999 runs called {name} already")


def is_run_id(name: object) -> TypeGuard[str]:
    """Can this be the name of a folder in `runs/`, and of nothing outside it?"""
    if not isinstance(name, str) or name in ("", ".", ".."):
        return False
    return Path(name).name == name and "\0" not in name and len(name) < 256
