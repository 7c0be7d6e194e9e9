"""What is done to whole run folders: delete, put aside, rename, mark, give more rounds.

Only to one's own, and to none that runs. Needs no torch.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
from pydantic import ValidationError

from deltamask.base.locks import LOOK
from deltamask.base.paths import recorded_dir, runs_dir, sweeps_dir
from deltamask.config import RunConfig
from deltamask.config.run_config import UNPRINTABLE
from deltamask.privacy import plan
from deltamask.runs import StoreError
from deltamask.runs.folder import is_run_id, write_json
from deltamask.runs.reader import Run
from deltamask.runs.status import LOCK
from deltamask.runs.stored import MARK, MAX_NOTE, MarkFile, read_config
from deltamask.simulation.records import first_fault

ASIDE = ".discarded"  # among the runs; listing leaves it out
A_DAY = 24 * 3600.0  # seconds


def _refuse_recorded(run: Run, what: str) -> None:
    if run.path.absolute().parent == recorded_dir().absolute():
        raise StoreError(f"{run.id} is a recorded run, which comes with the repository: it cannot be {what}")


@contextmanager
def _alone(run: Run, what: str) -> Iterator[None]:
    """Within the block nobody else runs or changes this folder. StoreError if somebody does, or if it is not ours."""
    _refuse_recorded(run, what)
    if run.state == "starting":
        raise StoreError(f"{run.id} is starting: stop it first")
    lock = filelock.FileLock(run.path / LOCK, timeout=LOOK)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise StoreError(f"{run.id} is running: stop it first") from None
    try:
        yield
    finally:
        lock.release()


def delete(run: Run) -> None:
    """Remove a run's folder and all that is in it. StoreError for one that runs, and for a recorded one."""
    with _alone(run, "deleted"):
        (run.path / "config.json").unlink()  # first: what is left of it is no run
    if run.path.is_symlink():
        run.path.unlink()
    else:
        shutil.rmtree(run.path)


def discard(run: Run) -> Path:
    """Put a run's folder aside, from where `restore` brings it back within a day; returns where. StoreError as for
    `delete`. What was put aside over a day ago is removed for good."""
    with _alone(run, "deleted"):
        pass
    aside = runs_dir() / ASIDE
    aside.mkdir(parents=True, exist_ok=True)
    for old in aside.iterdir():
        if time.time() - float(old.name.partition("-")[0]) > A_DAY:
            shutil.rmtree(old, ignore_errors=True)
    target = aside / f"{time.time():.6f}-{run.path.name}"
    run.path.rename(target)
    return target


def restore(aside: Path) -> Path:
    """Bring back what `discard` put aside; returns the run's folder. StoreError where it is gone, or its name taken."""
    target = runs_dir() / aside.name.partition("-")[2]
    if not aside.is_dir():
        raise StoreError(f"{target.name} is gone for good")
    if target.exists():
        raise StoreError(f"there is a run called {target.name!r} again: rename it first")
    aside.rename(target)
    return target


def rename(run: Run, name: str) -> Path:
    """Give a run's folder another name, where it lies; returns its path. StoreError where that cannot be."""
    target = run.path.absolute().parent / name
    if not is_run_id(name) or name.startswith(".") or UNPRINTABLE.search(name):
        raise StoreError(f"{name!r} is no name for a run: it is that of a folder, without slashes")
    if run.path.absolute().parent.parent == sweeps_dir().absolute():
        raise StoreError(f"{run.id} is a sweep's: its name says which run of the experiment it is")
    if target.exists() or (recorded_dir() / name).exists():
        raise StoreError(f"there is a run called {name!r} already")
    with _alone(run, "renamed"):
        pass
    run.path.rename(target)
    return target


def mark(run: Run, *, star: bool, note: str) -> None:
    """Give a run a star, or none, and a note in place of the one that it had; a run under way too.

    note: made one line. StoreError for a recorded run, for more than MAX_NOTE characters, and for control characters.
    """
    _refuse_recorded(run, "marked")
    line = " ".join(note.split())
    try:
        told = MarkFile(star=star, note=line)
    except ValidationError as error:
        raise StoreError(
            f"this cannot be a run's note, of at most {MAX_NOTE} characters: {first_fault(error)}"
        ) from None
    write_json(run.path / MARK, told.model_dump())


def extend(run: Run, rounds: int) -> RunConfig:
    """Let a run have more rounds than it began with; returns its new config. ValueError for fewer.

    StoreError where a schedule runs over the rounds, or noise was found for so many (`dp`): what has been done is not
    what a longer run would have done.
    """
    now = run.config.rounds
    if rounds < now:
        raise ValueError(f"rounds = {rounds}: {run.id} has {now} already; more can be had, not fewer")
    longer = run.config.replace(rounds=rounds)
    scheduled = [name for name, value in run.config if name.endswith("_schedule") and value == "cosine"]
    if rounds > now and run.records and scheduled:
        raise StoreError(
            f"{run.id} cannot have more rounds: {' and '.join(scheduled)} = cosine has brought it down to 0 over "
            f"{now}, and a run of {rounds} would have done otherwise from the first round on. Run it anew: "
            f"--rounds {rounds}"
        )
    if rounds > now and run.records and plan.is_private(run.config) and not run.config.dp_noise:
        raise StoreError(
            f"{run.id} cannot have more rounds: its noise was found for {now}, after which dp_epsilon = "
            f"{run.config.dp_epsilon:g} is spent. Run it anew: --rounds {rounds}"
        )
    if rounds > now:
        with _alone(run, "changed"):
            _, origin = read_config(run.path / "config.json")
            write_json(run.path / "config.json", {"config": longer.model_dump(), **origin})
    return longer
