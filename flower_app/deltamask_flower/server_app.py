"""The server's side: a run folder, a roster of nodes, and then the rounds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from logging import INFO
from pathlib import Path

import numpy as np
import torch
from flwr.app import ArrayRecord, Context
from flwr.common.logger import log
from flwr.serverapp import Grid, ServerApp

from deltamask.attacks.base import liars
from deltamask.config import RunConfig
from deltamask.runs import StoreError
from deltamask.runs.folder import RunFolder, new_folder
from deltamask.runs.reader import load_run, read_records
from deltamask.runs.runner import execute
from deltamask.runs.stored import read_task
from deltamask.simulation.loop import Checkpoint, Observer, exchanges_left, serve
from deltamask.simulation.records import RoundRecord
from deltamask.task.task import Task
from deltamask.task.world import Check
from deltamask_flower import roster, shard
from deltamask_flower.client_app import run_config
from deltamask_flower.grid import PromptGrid
from deltamask_flower.roster import Counts
from deltamask_flower.strategy import DeltaMask
from deltamask_flower.wire import Identity

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the config, or go on with it if `out` holds a run of it. Raises RosterError, and what `execute` does."""
    torch.set_num_threads(1)  # as the nodes do
    config = run_config(context)
    if liars(config):
        raise ValueError(f"attack = {config.attack!r}: attacks are played in a simulation only, not over Flower")
    folder = open_folder(config, str(context.run_config["out"]))
    settings = context.run_config
    wait, timeout, registered = float(settings["wait"]), float(settings["timeout"]), bool(settings["registered"])
    least = int(settings["least"]) or config.clients // 2 + 1
    rounds = Rounds(PromptGrid(grid), folder, wait, timeout, registered, least)
    log(INFO, "writing %s", folder.path)
    state = execute(folder, config, on_record=print_record, show=lambda *_: None, load=rounds.load, play=rounds.play)
    log(INFO, "%s: %s", state, folder.path)


def open_folder(config: RunConfig, out: str) -> RunFolder:
    """The folder `out`, new or with a run of this very config; without a name, a new one."""
    path = Path(out) if out else new_folder(config)
    if not (path / "config.json").exists():
        return RunFolder.create(path, config)
    stored = load_run(path).config
    if stored != config:
        differing = [name for name in RunConfig.model_fields if getattr(stored, name) != getattr(config, name)]
        raise StoreError(f"{path} holds a run with another {', '.join(differing)}: name another folder with out=…")
    return RunFolder(path)


@dataclass
class Rounds:
    """What the runner needs to play rounds on nodes.

    wait: seconds for nodes to connect. timeout: seconds for a round. registered, least: see `roster.call`.
    """

    grid: PromptGrid
    folder: RunFolder
    wait: float
    timeout: float
    registered: bool
    least: int

    def load(self, config: RunConfig, progress: Callable[[str, int, int], None], check: Check) -> Task:
        """Wait for a node that fits for every client, and go on without those that have none. The Task knows how many
        samples each holds. Nothing is checked: the training data are the nodes', and nobody sees them all. RosterError;
        ValueError for what only a process with all samples can do."""
        if config.compare_alone:
            raise ValueError("compare_alone needs all clients' samples in one process: run it in simulation")
        if config.dp != "none":
            raise ValueError("dp: its noise follows from the seed, which the server knows: run it in simulation")
        task = shard.server_task(config, progress)
        self.identity = Identity.of(config, task)
        # Nodes keep what they know of θ_g under this name: another run of the same config is another run.
        self.run = hashlib.sha256((self.folder.path / "config.json").read_bytes()).hexdigest()[:16]
        self.roster = roster.call(
            self.grid, config, self.identity, self.run, len(task.classes), self.wait, progress,
            registered=self.registered, least=self.least, before=self._held_before(),
        )  # fmt: skip
        return shard.with_holdings(task, self.roster.label_counts, self.roster.notes(config.train_samples))

    def _held_before(self) -> Counts | None:
        """What the clients said they hold when the run began; None where it begins now."""
        begun = bool(read_records(self.folder.path))
        return np.array(read_task(self.folder.path / "task.json")["label_counts"], np.int64) if begun else None

    def play(
        self, config: RunConfig, *, task: Task, start: Checkpoint | None, observer: Observer
    ) -> Iterator[RoundRecord]:
        """The rounds that are left."""
        strategy = DeltaMask(serve(config, task, start, observer), self.roster, self.identity, self.run, self.timeout)
        self.grid.waiting = lambda done, total: observer.progress(strategy.what, done, total)
        strategy.start(self.grid, ArrayRecord(), num_rounds=exchanges_left(config, start), timeout=self.timeout)
        yield from strategy.records


def print_record(record: RoundRecord) -> None:
    """A line a round, when all are over; Flower has logged each as it came."""
    log(INFO, "round %d  accuracy %.4f  uplink %.4f bpp", record.round, record.accuracy, record.bpp_up)
