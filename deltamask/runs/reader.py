"""Run folders: what a run leaves on disk, and how it is read back. Needs no torch.

config.json       the RunConfig, package version, git revision
task.json         d, layers, classes, and which client holds how many samples of each class
rounds.jsonl      one RoundRecord a line; a torn last line is ignored
state.safetensors the latest checkpoint, replaced atomically
status.json       state, pid, progress, replaced atomically
control           what a user asked of the running process: run, pause, step or stop
payloads/         r0007-c03.png …, r0007-down.bin: what crossed the wire, up and down; r0007-c03.flips: what only the
                  client knew of it
"""

from __future__ import annotations

import errno
import functools
import json
import os
import re
import subprocess
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import safetensors
import safetensors.numpy
from pydantic import ValidationError

from deltamask.base.files import write_atomic
from deltamask.base.paths import recorded_dir, runs_dir
from deltamask.config import RunConfig, explain_errors
from deltamask.runs import jsonl

PAYLOAD_NAME = re.compile(r"r(\d{4,})-c(\d{2,})\.(png|bin)")
ACTIVE = ("starting", "running", "paused")


class StoreError(RuntimeError):
    """A run folder cannot be made, read or continued; the message says what to do."""


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
        file.write(json.dumps(value, indent=1, allow_nan=False).encode())


def read_json(path: Path) -> Any:
    """The file's value, or None if it is missing or torn."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


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

    def append(self, record: dict[str, Any]) -> None:
        """Add a record. On failure (a full disk) the file is cut back, so that what was there stays whole."""
        line = json.dumps(record, allow_nan=False).encode() + b"\n"
        # Unbuffered: a buffer would write the rest of the line again when the file is closed, behind the cut.
        with open(self.path / "rounds.jsonl", "ab", buffering=0) as file:
            end = file.tell()
            try:
                if (written := file.write(line)) != len(line):
                    raise OSError(errno.ENOSPC, f"only {written} of {len(line)} bytes could be written", file.name)
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise

    def rewind(self, round: int) -> None:
        """Drop records above `round` and a torn last line: the state of the latest checkpoint."""
        lines = [json.dumps(record).encode() + b"\n" for record in read_records(self.path) if record["round"] <= round]
        with write_atomic(self.path / "rounds.jsonl") as file:
            file.writelines(lines)

    def save_state(self, round: int, arrays: dict[str, np.ndarray]) -> None:
        """The checkpoint: the server's state after `round`."""
        with write_atomic(self.path / "state.safetensors") as file:
            file.write(safetensors.numpy.save(arrays, metadata={"round": str(round)}))

    def load_state(self) -> tuple[int, dict[str, np.ndarray]] | None:
        """(round, arrays) of the latest checkpoint, or None if there is none. StoreError if it is damaged."""
        path = self.path / "state.safetensors"
        if not path.exists():
            return None
        try:
            with safetensors.safe_open(path, framework="numpy") as file:
                return int(file.metadata()["round"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except Exception as error:  # the reader raises its own class, not exported under a stable name
            raise StoreError(
                f"{path} is damaged ({error}); delete it and rounds.jsonl to start from round 0"
            ) from error

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
        """Replace `status.json`; the pid (by default ours) and its start time tell a dead process from a living one."""
        process = psutil.Process(pid)
        stamp = {"pid": process.pid, "pid_started": process.create_time()}
        heartbeat = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(self.path / "status.json", {**status, **stamp, "heartbeat": heartbeat})

    def control(self) -> str:
        """What the user last asked for: run, pause, step or stop."""
        try:
            word = (self.path / "control").read_text().strip()
        except OSError:
            return "run"
        return word if word in ("run", "pause", "step", "stop") else "run"

    def ask(self, word: str) -> None:
        """Ask the process that runs this folder to run, pause, step or stop."""
        with write_atomic(self.path / "control") as file:
            file.write(word.encode())


@dataclass(frozen=True)
class Payload:
    """A kept uplink message."""

    round: int
    client: int
    path: Path


@dataclass(frozen=True)
class Run:
    """The reading side: a run folder at one moment."""

    path: Path
    config: RunConfig
    provenance: dict[str, Any]
    status: dict[str, Any]

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def state(self) -> str:
        """starting, running, paused, stopped, finished, failed, or killed (its process is gone without a word)."""
        state = str(self.status.get("state", "stopped"))
        return "killed" if state in ACTIVE and not is_alive(self.status) else state

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """The records, in the order of the rounds; read when first asked for."""
        return read_records(self.path)

    @cached_property
    def task(self) -> dict[str, Any]:
        """d, layers, classes, label_counts; empty before the run has got that far."""
        return read_json(self.path / "task.json") or {}

    @cached_property
    def rounds(self) -> pd.DataFrame:
        """One row a round, without the lists of clients.

        bpp_up, bpp_down, bpp_total (both together): bits per parameter and client of the round. With `_total` behind
        it: summed over the rounds, round 0 included; with `_mean`: their mean over the rounds after 0 (NaN in round 0).
        """
        frame = pd.DataFrame([{k: v for k, v in record.items() if k != "clients"} for record in self.records])
        if len(frame):
            frame["bpp_total"] = frame["bpp_up"] + frame["bpp_down"]
            for name in ("bpp_up", "bpp_down", "bpp_total"):
                frame[f"{name}_total"] = frame[name].cumsum()
                frame[f"{name}_mean"] = frame[name].where(frame["round"] > 0).expanding().mean()
        return frame

    @cached_property
    def clients(self) -> pd.DataFrame:
        """One row for each client and round."""
        return pd.DataFrame([{"round": r["round"], **client} for r in self.records for client in r["clients"]])

    def payloads(self, round: int | None = None) -> list[Payload]:
        """Kept payloads, by round and client."""
        pattern = "*" if round is None else f"r{round:04d}-*"
        found = [(PAYLOAD_NAME.fullmatch(path.name), path) for path in (self.path / "payloads").glob(pattern)]
        return sorted(
            (Payload(int(match[1]), int(match[2]), path) for match, path in found if match),
            key=lambda payload: (payload.round, payload.client),
        )

    def summary(self) -> dict[str, Any]:
        """The run's headline figures, over the rounds after the probing round 0.

        accuracy: mean of the last ten. worst_client: mean over the same rounds of the lowest accuracy for a client.
        bpp_up, bpp_down, bpp_total: mean. With `_total` behind it: everything sent, round 0 included; likewise the
        bytes, over all clients. Figures that there are not yet are None.
        """
        rounds, ways = self.rounds, ("bpp_up", "bpp_down", "bpp_total")
        if not len(rounds):
            none = ("accuracy", "worst_client", *ways, *(f"{way}_total" for way in ways))
            return {"rounds": 0, **dict.fromkeys(none), "uplink_bytes": 0, "downlink_bytes": 0}
        after = rounds[rounds["round"] > 0]
        last_ten = (self.records[1:] or self.records)[-10:]
        worst = [min(client["accuracy"] for client in record["clients"]) for record in last_ten if record["clients"]]
        return {
            "rounds": int(rounds["round"].max()),
            "accuracy": float((after if len(after) else rounds)["accuracy"].tail(10).mean()),
            "worst_client": float(np.mean(worst)) if worst else None,
            **{way: float(after[way].mean()) if len(after) else None for way in ways},
            **{f"{way}_total": float(rounds[f"{way}_total"].iloc[-1]) for way in ways},
            "uplink_bytes": int(rounds["uplink_bytes"].sum()),
            "downlink_bytes": int(rounds["downlink_bytes"].sum()),
        }


def is_alive(status: dict[str, Any]) -> bool:
    """Is the process that wrote this status still there (and not another one with its pid)?"""
    try:
        process = psutil.Process(int(status["pid"]))
        same = abs(process.create_time() - float(status["pid_started"])) < 1
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (KeyError, TypeError, ValueError, psutil.Error):
        return False


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a run folder, up to the first line that is torn. They are shared: do not change them."""
    return jsonl.read_records(path / "rounds.jsonl")


def load_run(run: str | Path) -> Run:
    """Read a run by path, or by id from `runs/` and the recorded runs. StoreError says what was looked for."""
    return _load(find_run(run))


_loaded: OrderedDict[Path, tuple[tuple[Any, ...], Run]] = OrderedDict()  # what was read, for as long as it is true
_LOADED_MOST = 512
_loading = threading.Lock()


def _load(path: Path) -> Run:
    """The run in a folder; the very same object while its files stay as they are, so that asking again is cheap."""
    signature = tuple(_signature(path / name) for name in ("config.json", "status.json", "task.json", "rounds.jsonl"))
    key = path.absolute()
    with _loading:
        known, run = _loaded.pop(key, (None, None))
        if run is None or known != signature or run.path != path:
            run = _read(path)
        _loaded[key] = (signature, run)
        if len(_loaded) > _LOADED_MOST:
            _loaded.popitem(last=False)
    return run


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _read(path: Path) -> Run:
    stored = read_json(path / "config.json")
    try:
        config = RunConfig(**stored["config"])
    except (TypeError, KeyError):
        raise StoreError(f"{path / 'config.json'} is missing or damaged: not a run folder") from None
    except ValidationError as error:
        raise StoreError(f"{path / 'config.json'}: " + "; ".join(explain_errors(error))) from error
    origin = {key: value for key, value in stored.items() if key != "config"}
    return Run(path, config, origin, read_json(path / "status.json") or {})


def find_run(run: str | Path) -> Path:
    """The folder of a run given by path or id. StoreError if there is none."""
    places = [Path(run), runs_dir() / run, recorded_dir() / run]
    for place in places:
        if (place / "config.json").is_file():
            return place
    raise StoreError(
        f"no run {str(run)!r}; looked in {', '.join(str(place) for place in places)}; `deltamask runs` lists them"
    )


def list_runs(*roots: Path) -> list[Run]:
    """All readable runs below `roots` (by default `runs/` and the recorded ones), newest first."""
    runs = []
    for root in roots or (runs_dir(), recorded_dir()):
        for config in sorted(root.glob("*/config.json")):
            if config.parent.name.startswith("."):
                continue  # an upload that is being checked
            try:
                runs.append(load_run(config.parent))
            except StoreError:
                continue  # one damaged folder must not hide the others; `deltamask show` names the fault
    return sorted(runs, key=lambda run: str(run.provenance.get("created", "")), reverse=True)


def new_folder(config: RunConfig, root: Path | None = None) -> Path:
    """A path for a new run: the run's id, or id-2, id-3 … where that is taken."""
    base = (root or runs_dir()) / config.run_id
    candidates = (base if n == 1 else base.with_name(f"{base.name}-{n}") for n in range(1, 10_000))
    return next(path for path in candidates if not path.exists())
