"""The queue of runs that wait for their turn: one runs at a time. Used by the page; needs neither it nor torch.

The queue is on disk, so it outlives tab and server: `.queue/` among the runs, one file a waiting run, named so that
their order is the order of asking. Run folders hold nothing of it, so no folder from elsewhere can ask for anything.
The folder of a new run is made when it is queued, empty, so that its name is taken. A thread of the process that
queued a run starts the next one when nothing runs, and ends when nobody waits.
"""

from __future__ import annotations

import re
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import filelock
from pydantic import ValidationError

from deltamask.base.paths import runs_dir
from deltamask.config import RunConfig, explain_errors, located
from deltamask.runs import StoreError, launch
from deltamask.runs.folder import RunFolder, is_run_id, new_folder, write_json
from deltamask.runs.reader import Run
from deltamask.runs.status import ACTIVE, is_alive, read_json

PLACE = ".queue"
LOG = "run.log"  # in a run's folder: what its process printed
POLL = 1.0  # seconds between two looks whether nothing runs any more
ENTRY = re.compile(r"\d{20}\.json")

_thread_lock = threading.Lock()
_thread: threading.Thread | None = None
_children: list[subprocess.Popen[bytes]] = []  # started by this process, kept so that ended ones can be reaped


@dataclass(frozen=True)
class Waiting:
    """A run that waits. file: its entry. resume: it has begun before."""

    file: Path
    path: Path
    config: RunConfig
    resume: bool

    @property
    def id(self) -> str:
        return self.path.name


def submit(config: RunConfig) -> Path:
    """Queue a new run; it starts at once if nothing runs. Returns its folder."""
    config = located(config)
    while True:
        folder = new_folder(config).absolute()
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:  # another tab was quicker
            continue
    _queue(folder, config, resume=False)
    return folder


def submit_again(run: Run) -> None:
    """Queue a run in `runs/` that stopped, to go on. One that waits already is not queued twice."""
    if not any(entry.id == run.id for entry in waiting()):
        _queue(run.path, run.config, resume=True)


def _queue(folder: Path, config: RunConfig, *, resume: bool) -> None:
    with _lock():
        place = runs_dir() / PLACE
        place.mkdir(exist_ok=True)
        after = max((int(file.stem) for file in _files()), default=0)  # clocks may go back
        entry = {"run": folder.name, "config": config.model_dump(), "resume": resume}
        write_json(place / f"{max(time.time_ns(), after + 1):020d}.json", entry)
    start_next()
    keep_starting()


def waiting() -> list[Waiting]:
    """The waiting runs, the longest-waiting first. Entries that cannot be read are left out."""
    return [entry for file in _files() if isinstance(entry := _read(file), Waiting)]


def _files() -> list[Path]:
    return sorted(file for file in (runs_dir() / PLACE).glob("*.json") if ENTRY.fullmatch(file.name))


@dataclass(frozen=True)
class _Unreadable:
    """An entry that asks for no run. name: of the folder it was made for, where it says so."""

    name: str | None
    why: str


def _read(file: Path) -> Waiting | _Unreadable:
    entry = read_json(file)
    name = entry.get("run") if isinstance(entry, dict) else None
    if not is_run_id(name):
        return _Unreadable(None, f"{file.name} names no run")
    try:
        return Waiting(file, runs_dir().absolute() / name, RunConfig(**entry["config"]), bool(entry["resume"]))
    except ValidationError as error:
        return _Unreadable(name, "; ".join(explain_errors(error)))
    except (KeyError, TypeError) as error:
        return _Unreadable(name, f"{type(error).__name__}: {error}")


def active() -> list[str]:
    """The runs under way in `runs/`, paused ones and those started elsewhere included."""
    names = []
    for file in sorted(runs_dir().glob("*/status.json")):
        status = read_json(file)
        if isinstance(status, dict) and status.get("state") in ACTIVE and is_alive(file.parent, status):
            names.append(file.parent.name)
    return names


def remove(entry: Waiting) -> None:
    """Take a run off the list. The folder of a new one goes as well."""
    entry.file.unlink(missing_ok=True)
    if not entry.resume and entry.path.is_dir() and not any(entry.path.iterdir()):
        entry.path.rmdir()


def start_now(entry: Waiting) -> None:
    """Start a waiting run beside what runs already."""
    with _lock():
        if entry.file.exists():
            _start(entry)


def start_next() -> None:
    """Start the run that has waited longest, if nothing runs. An entry that cannot be started does not stay."""
    with _lock():
        for file in [] if active() else _files():
            entry = _read(file)
            if isinstance(entry, _Unreadable):
                _drop(file, entry)
            elif _start(entry):
                return


def _lock() -> filelock.FileLock:
    """Two tabs, or two servers over the same folder, must not start the same run."""
    runs_dir().mkdir(parents=True, exist_ok=True)
    return filelock.FileLock(runs_dir() / ".queue.lock", timeout=30)


def _start(entry: Waiting) -> bool:
    """Start a run and take it off the list, also if it cannot be started: then its folder says why. Was it started?"""
    reap()
    folder, log = RunFolder(entry.path), entry.path / LOG
    try:
        if entry.resume:
            folder.ask("run")
            child = launch.resume(entry.path, log)
        else:
            child = launch.start(entry.config, entry.path, log)
    except (StoreError, OSError) as error:
        _fail(entry, str(error))
        return False
    finally:
        entry.file.unlink(missing_ok=True)
    _children.append(child)
    with suppress(OSError):  # until the process has loaded and says so itself
        folder.write_status(pid=child.pid, state="starting")
    return True


def _fail(entry: Waiting, why: str) -> None:
    """Leave the reason where the run would be looked for: as a failed run of this config."""
    with suppress(StoreError, OSError):  # its folder is gone, or the disk is full
        folder = RunFolder(entry.path) if entry.resume else RunFolder.create(entry.path, entry.config)
        folder.write_status(state="failed", message=why)


def _drop(file: Path, entry: _Unreadable) -> None:
    """Remove an entry that asks for no run, and leave the reason in the log of the folder it was made for."""
    file.unlink(missing_ok=True)
    if entry.name is not None:
        with suppress(OSError), open(runs_dir() / entry.name / LOG, "a") as log:
            log.write(f"this run could not be taken from the queue: {entry.why}\n")


def reap() -> None:
    """Collect the processes of this one that have ended."""
    _children[:] = [child for child in _children if child.poll() is None]


def keep_starting() -> None:
    """See to it that whoever waits will be started, also when no page is open."""
    global _thread
    with _thread_lock:
        if (_thread is None or not _thread.is_alive()) and waiting():
            _thread = threading.Thread(target=_start_all, name="queue", daemon=True)
            _thread.start()


def _start_all() -> None:
    while waiting():
        start_next()
        reap()
        time.sleep(POLL)
