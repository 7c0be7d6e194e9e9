"""Runs the trials of experiments, several processes at a time. Each is the `deltamask run` that a user would type.

A sweep that was cut short is simply started again: what is finished is left alone, what was begun goes on.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal

from deltamask.config import RunConfig, located
from deltamask.runs import StoreError, launch
from deltamask.runs.reader import load_run, read_records
from deltamask.runs.status import ACTIVE
from deltamask.studies.experiments import Trial

Standing = Literal["new", "begun", "running", "finished"]

POLL = 0.2  # seconds between two looks at the processes
GRACE = 20.0  # seconds that a run has to end by itself once it is interrupted


@dataclass(frozen=True)
class Outcome:
    """How a trial ended. error: why it failed, else None. rounds: finished ones, round 0 not counted. left: another
    process runs it, which is no failure."""

    trial: Trial
    path: Path
    rounds: int
    error: str | None
    left: bool = False


@dataclass(frozen=True)
class Child:
    """A running process and what it runs."""

    trial: Trial
    path: Path
    process: subprocess.Popen[bytes]


def finished_rounds(path: Path) -> int:
    """The last finished round in a run folder, 0 if there is none."""
    records = read_records(path)
    return int(records[-1]["round"]) if records else 0


def standing(trial: Trial, path: Path) -> Standing:
    """How far a trial's folder has come. StoreError if it holds another config's run, or is damaged."""
    if not (path / "config.json").exists():
        return "new"
    run = load_run(path)
    if differences := _differences(run.config, trial.config):
        raise StoreError(
            f"{path} holds a run of another config ({'; '.join(differences)}): "
            "delete that folder to run the experiment as it is now, or name another place with --out"
        )
    if run.state in ACTIVE:
        return "running"
    return "finished" if finished_rounds(path) >= trial.config.rounds else "begun"


def _differences(there: RunConfig, wanted: RunConfig) -> list[str]:
    there = located(there)  # of an earlier revision
    pairs = [(name, getattr(there, name), getattr(wanted, name)) for name in RunConfig.model_fields]
    return [f"there {name} is {old}, in the experiment {new}" for name, old, new in pairs if old != new]


def standings(trials: Sequence[Trial], root: Path) -> list[Standing]:
    """How far each trial has come below `root`. StoreError names every folder that holds something else."""
    found: list[Standing] = []
    faults = []
    for trial in trials:
        try:
            found.append(standing(trial, root / trial.folder))
        except StoreError as error:
            faults.append(str(error))
    if faults:
        raise StoreError("\n".join(faults))
    return found


def run_trials(
    trials: Sequence[Trial],
    root: Path,
    *,
    jobs: int,
    threads: int,
    on_start: Callable[[Trial], None],
    on_end: Callable[[Outcome], None],
    look: Callable[[Sequence[Child]], None],
    command: Sequence[str] = launch.COMMAND,
) -> None:
    """Run every trial that is not finished below `root`, up to `jobs` at a time with `threads` each.

    A failure is reported to `on_end`, and the others go on. `look` sees what runs, some times a second. Whatever ends
    this function early (KeyboardInterrupt) ends its processes first; their folders can be resumed.
    """
    waiting, running = deque(trials), list[Child]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                trial = waiting.popleft()
                path = root / trial.folder
                if standing(trial, path) == "running":
                    on_end(Outcome(trial, path, finished_rounds(path), None, left=True))
                    continue
                on_start(trial)
                try:
                    running.append(_start(trial, path, threads, command))
                except StoreError as error:
                    on_end(Outcome(trial, path, finished_rounds(path), str(error)))
            for child in [child for child in running if child.process.poll() is not None]:
                running.remove(child)
                on_end(_outcome(child))
            look(running)
            if running:
                time.sleep(POLL)
    finally:
        _interrupt(running)


def _start(trial: Trial, path: Path, threads: int, command: Sequence[str]) -> Child:
    path.parent.mkdir(parents=True, exist_ok=True)
    log = log_file(path)
    if standing(trial, path) == "new":
        process = launch.start(trial.config, path, log, threads=threads, command=command)
    else:
        process = launch.resume(path, log, threads=threads, command=command)
    return Child(trial, path, process)


def log_file(path: Path) -> Path:
    """What a run printed: beside its folder, which the run itself makes."""
    return path.with_name(f"{path.name}.log")


def _outcome(child: Child) -> Outcome:
    rounds, status = finished_rounds(child.path), child.process.returncode
    if rounds >= child.trial.config.rounds and (status == 0 or _state(child) == "finished"):
        return Outcome(child.trial, child.path, rounds, None)  # by this process, or by that of another sweep
    if status > 0 and _state(child) in ACTIVE:
        return Outcome(child.trial, child.path, rounds, None, left=True)  # the other one was quicker
    if status < 0:
        return Outcome(child.trial, child.path, rounds, f"ended by {signal.Signals(-status).name}")
    lines = log_file(child.path).read_text(errors="replace").strip().splitlines()
    return Outcome(child.trial, child.path, rounds, lines[-1] if lines else f"ended with status {status}")


def _state(child: Child) -> str:
    """Of its folder, whoever is at it by now."""
    try:
        return load_run(child.path).state
    except StoreError:
        return "none"


def _interrupt(children: Sequence[Child]) -> None:
    """End processes as Ctrl-C would, and those that do not listen for good."""
    try:
        for child in children:
            child.process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + GRACE
        for child in children:
            child.process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        pass
    finally:
        for child in children:
            child.process.kill()
            child.process.wait()


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Within the block, SIGTERM is what Ctrl-C is: KeyboardInterrupt."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
