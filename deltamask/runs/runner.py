"""Carries a run out in its folder: records, checkpoints, payloads, progress, and what the user asks meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import filelock
import numpy as np
import torch

from deltamask.base.locks import LOOK
from deltamask.base.progress import NOTE, Progress
from deltamask.config import RunConfig
from deltamask.methods import methods
from deltamask.methods.base import ClientReport, state_arrays
from deltamask.runs import StoreError, client_flips, payloads
from deltamask.runs.folder import RunFolder, write_json
from deltamask.runs.reader import read_records
from deltamask.runs.status import LOCK
from deltamask.runs.stored import read_status, read_task
from deltamask.simulation.loop import Checkpoint, Observer, simulate
from deltamask.simulation.records import RoundRecord
from deltamask.task.task import Task, load_task
from deltamask.task.world import Check, World, differences

STATUS_EVERY = 0.5  # seconds between two writes of status.json
POLL = 0.2  # seconds between two looks at the control file while paused
FEW_BYTES = 1 << 20  # the largest broadcast kept with it
BROADCASTS = "broadcasts"  # among a checkpoint's arrays: the sizes of all broadcasts so far
FEW = 2  # clients whose payloads are kept with keep_payloads = few


Load = Callable[[RunConfig, Progress, Check], Task]


class Stopped(Exception):
    """The user asked the run to stop."""


@dataclass
class Recorder(Observer):
    """An observer that writes everything into the run folder."""

    folder: RunFolder
    config: RunConfig
    show: Callable[[str, int, int], None]
    d: int = 0
    round: int = -1
    _written: float = 0.0
    _progress: dict[str, Any] = field(default_factory=dict)
    _stepping: bool = False

    def status(self, state: str, message: str = "") -> None:
        """Write status.json now."""
        self._written = time.monotonic()
        self.folder.write_status(
            state=state, message=message, round=self.round, rounds=self.config.rounds, progress=self._progress
        )

    def progress(self, what: str, done: int, total: int) -> None:
        begun = what != self._progress.get("what")  # it may take long, and say nothing until it is done
        self._progress = {"what": what, "done": done, "total": total}
        self.show(what, done, total)
        if begun or time.monotonic() - self._written > STATUS_EVERY:
            self.status("running")
        self.obey()

    def obey(self) -> None:
        """Wait while paused; raise Stopped on stop; on step, let one round pass.

        A step leaves `pause` in the control file at once, to be read when its round is over: what the user asks for
        meanwhile is not overwritten.
        """
        paused = False
        while (word := self.folder.control()) == "pause" and not self._stepping:
            if not paused or time.monotonic() - self._written > STATUS_EVERY:
                self.status("paused")
            paused = True
            time.sleep(POLL)
        if paused:
            self.status("running")
        if word == "step":
            self._stepping = True
            self.folder.ask("pause")
        if word == "stop":
            raise Stopped

    def broadcast(self, round: int, message: bytes) -> None:
        keep = {"none": 0, "few": FEW_BYTES, "all": len(message)}[self.config.keep_payloads]
        if round and len(message) <= keep:
            self.folder.write_broadcast(round, message)

    def payload(self, round: int, client: int, order: int, suffix: str, payload: bytes) -> None:
        if self._kept(order):
            self.folder.write_payload(round, client, suffix, payload)

    def report(self, round: int, client: int, order: int, report: ClientReport) -> None:
        if self._kept(order) and report.delta is not None and report.sent is not None:
            only_here = client_flips.pack(report.delta, report.sent, self.d, round, client)
            self.folder.write_payload(round, client, payloads.SIDE_SUFFIX, only_here)

    def _kept(self, order: int) -> bool:
        return order < {"none": 0, "few": FEW, "all": self.config.clients}[self.config.keep_payloads]

    def finished(self, record: RoundRecord, checkpoint: Checkpoint) -> None:
        self.folder.append(record.to_json())
        arrays = state_arrays(checkpoint.state) | {BROADCASTS: np.array(checkpoint.broadcasts, np.int64)}
        self.folder.save_state(checkpoint.round, arrays, self.config)
        self.round = checkpoint.round
        self._progress = {**self._progress, "done": 0}  # of the round that begins now
        self._stepping = False
        self.status("running")


def execute(
    folder: RunFolder,
    config: RunConfig,
    *,
    on_record: Callable[[RoundRecord], None],
    show: Callable[[str, int, int], None],
    load: Load = load_task,
    play: Callable[..., Iterator[RoundRecord]] = simulate,
    accept_changes: bool = False,
) -> str:
    """Run or go on with the run in `folder`. Returns the state it ended in: finished or stopped.

    load, play: where the Task comes from and who plays the rounds, if not this process alone. accept_changes: go on
    also where data, split or weights are not those that the run began with; it says so from then on.

    A finished run is left alone. Raises StoreError if another process runs this folder, if its checkpoint is damaged or
    missing, or if it would go on with other data; whatever else goes wrong is written to status.json as `failed` and
    raised.
    """
    lock = filelock.FileLock(folder.path / LOCK, timeout=LOOK)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise StoreError(f"another process is running {folder.path}; stop it first") from None
    recorder = Recorder(folder, config, show)
    try:
        folder.sweep()
        if folder.control() == "stop":
            folder.ask("run")
        start = _checkpoint(folder, config)
        recorded = len(read_records(folder.path))
        if start is not None and recorded <= start.round:
            raise StoreError(
                f"{folder.path} holds {recorded} records, but its checkpoint is that of round {start.round}: restore "
                "rounds.jsonl, or delete state.safetensors and rounds.jsonl to start from round 0"
            )
        if recorded > config.rounds and (start is None or start.round >= config.rounds):
            if read_status(folder.path / "status.json").get("state") != "finished":  # it was killed before it said so
                recorder.round = recorded - 1
                recorder.status("finished")
            return "finished"  # nothing else to do, and nothing to touch
        if start is None and recorded > 1:
            raise StoreError(
                f"{folder.path} holds {recorded} rounds but no state.safetensors to go on from, as a run that was "
                "exported does: delete its rounds.jsonl to start from round 0, or run its config elsewhere with --out"
            )
        recorder.status("starting")
        folder.rewind(start.round if start else -1)
        recorder.round = start.round if start else -1
        known = _Known(folder, start.round if start else None, accept_changes, recorder.progress)
        task = load(config, recorder.progress, known.check)
        known.check_skipped(task)
        _describe(folder, task, known)
        recorder.d = task.d
        for record in play(config, task=task, start=start, observer=recorder):
            on_record(record)
        recorder.status("finished", _ended_early(config, recorder.round))
        return "finished"
    except Stopped:
        recorder.status("stopped", "stopped by the user")
        return "stopped"
    except KeyboardInterrupt:
        recorder.status("stopped", "interrupted from the keyboard")
        raise
    except BaseException as error:
        _try_status(recorder, f"{type(error).__name__}: {error}")
        raise
    finally:
        lock.release()


def _ended_early(config: RunConfig, round: int) -> str:
    """Why a run has fewer rounds than it was to have; empty where it has all."""
    if round >= config.rounds:
        return ""
    return f"ended after round {round}: the next one would spend more than dp_epsilon = {config.dp_epsilon:g}"


def _try_status(recorder: Recorder, message: str) -> None:
    """Say why the run failed, where the disk still lets us."""
    try:
        recorder.status("failed", message)
    except OSError:
        return


def _checkpoint(folder: RunFolder, config: RunConfig) -> Checkpoint | None:
    stored = folder.load_state(config)
    if stored is None:
        return None
    round, arrays = stored
    try:
        broadcasts = tuple(arrays.pop(BROADCASTS).tolist())
        return Checkpoint(round, methods[config.method].state(**arrays), broadcasts)
    except (TypeError, KeyError) as error:
        raise StoreError(f"{folder.path}: the checkpoint is not one of method {config.method} ({error})") from error


class _Known:
    """What the run rested on until now, compared with what it would go on with. round: the last one that rests on it,
    None where there is none."""

    def __init__(self, folder: RunFolder, round: int | None, accept: bool, progress: Progress) -> None:
        self.before = {} if round is None else read_task(folder.path / "task.json")
        self.changes: list[str] = list(self.before.get("changes", []))
        self.world: World | None = None
        self._folder, self._round, self._accept, self._progress = folder, round, accept, progress

    def check(self, world: World) -> None:
        """StoreError if it is another world than before, unless that was accepted."""
        self.world = world
        if before := self.before.get("world"):
            grave, slight = differences(before, world)
            for line in slight:
                self._progress(f"{NOTE}{line}", 0, 1)
            self._changed(grave, other_head=len(before["data"]["classes"]) != len(world["data"]["classes"]))

    def check_skipped(self, task: Task) -> None:
        """The same of images that could not be read then, or cannot be now."""
        skipped = len(self.before.get("skipped", task.skipped))
        if self.before.get("world") and skipped != len(task.skipped):
            self._changed([f"{len(task.skipped)} images cannot be read, {skipped} when it began"])

    def _changed(self, lines: list[str], other_head: bool = False) -> None:
        if lines and (other_head or not self._accept):
            way = "start a new run: its head has an output for each class that there was" if other_head else (
                "go on with --accept-changes: the run will say that it changed"
            )  # fmt: skip
            raise StoreError(f"{self._folder.path}: {'; '.join(lines)}. Put back what it began with, or {way}")
        for line in lines:
            self._progress(f"{NOTE}{line}; going on all the same", 0, 1)
        self.changes += [f"after round {self._round}: {line}" for line in lines]


def _describe(folder: RunFolder, task: Task, known: _Known) -> None:
    write_json(
        folder.path / "task.json",
        {
            "d": task.d,
            "head_size": task.head_size,
            "layers": [vars(layer) | {"shape": list(layer.shape)} for layer in task.tail.layers],
            "classes": list(task.classes),
            "label_counts": task.label_counts.tolist(),
            "train_samples": len(task.train_y) if task.holdings is None else int(task.samples.sum()),
            "test_samples": len(task.test_y),
            "skipped": list(task.skipped),
            "notes": list(task.notes),
            "device": task.device.type,
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            **({"world": known.world} if known.world else {}),
            **({"changes": known.changes} if known.changes else {}),
        },
    )
