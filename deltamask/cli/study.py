"""`deltamask sweep`, `results` and `gallery`: experiments, from their files to their tables, and all they showed."""

from __future__ import annotations

import json as jsonlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from deltamask.base.files import write_atomic
from deltamask.base.paths import recorded_dir, results_dir, sweeps_dir
from deltamask.base.units import byte_size
from deltamask.cli.console import print_table
from deltamask.cli.output import Json, Place, people
from deltamask.runs import export
from deltamask.runs.reader import list_runs, load_run
from deltamask.studies import sweep as sweeping
from deltamask.studies.experiments import Trial, read_experiment

REPOSITORY_DOCUMENT, README = Path("docs/results.md"), Path("README.md")
Files = Annotated[list[Place], tyro.conf.Positional]


def sweep(
    files: Files,
    *,
    jobs: Annotated[int | None, tyro.conf.arg(help="Runs at a time; by default one a processor.")] = None,
    threads: Annotated[
        int, tyro.conf.arg(help="Threads of each run. On few cores, several runs of one thread each get more done.")
    ] = 1,
    out: Annotated[Place | None, tyro.conf.arg(help="Folder for the runs; by default runs/sweeps.")] = None,
    dry_run: Annotated[bool, tyro.conf.arg(help="List the runs and how far each has come; run nothing.")] = False,
    json: Json = False,
) -> int:
    """Run the experiments in FILES: every arm with every seed, each into a run folder of its own.

    Started again, it leaves finished runs alone and goes on with those that were cut short. With --json, a line for
    each run when it has ended.
    """
    if not files:
        raise ValueError("name at least one experiment file, such as experiments/headline.toml")
    jobs = (os.cpu_count() or 1) if jobs is None else jobs
    if jobs < 1 or threads < 1:
        raise ValueError(f"jobs = {jobs}, threads = {threads} is out of range: both are at least 1")
    trials = [trial for file in files for trial in read_experiment(file).trials]
    root = out or sweeps_dir()
    standings = sweeping.standings(trials, root)
    if dry_run:
        return _list_trials(trials, standings, root, json)
    todo = [trial for trial, state in zip(trials, standings, strict=True) if state != "finished"]
    with _Screen(todo, len(trials), json) as screen:
        if len(todo) < len(trials):
            screen.say(f"{len(trials) - len(todo)} of {len(trials)} runs are finished already")
        try:
            with sweeping.termination_as_interrupt():
                sweeping.run_trials(
                    todo, root, jobs=jobs, threads=threads,
                    on_start=screen.started, on_end=screen.ended, look=screen.look,
                )  # fmt: skip
        except KeyboardInterrupt:
            screen.say("interrupted: the same command goes on where this one stopped")
            return 130
    return 1 if screen.failed else 0


def results(
    *,
    experiments: Annotated[Place, tyro.conf.arg(help="Folder of the experiment files.")] = Path("experiments"),
    runs: Annotated[Place | None, tyro.conf.arg(help="Folder of the sweeps' runs; by default runs/sweeps.")] = None,
    data: Annotated[
        Place | None, tyro.conf.arg(help="Folder of the tables; by default tables/ among the experiment files.")
    ] = None,
    doc: Annotated[
        Place | None,
        tyro.conf.arg(help="The document to make again; by default results.md there, drafted if it is missing."),
    ] = None,
    json: Json = False,
) -> int:
    """Make the tables, the document and its figures from the runs of all experiments.

    Runs that are not here are taken from the tables, so the document can be made again without any run folder. In the
    repository they are docs/results.md, with figures in README, and data/results.
    """
    from deltamask.plots import study_charts
    from deltamask.studies import document, tables
    from deltamask.studies.markdown import figure_file

    files = sorted(experiments.glob("*.toml"))
    if not files:
        raise ValueError(f"no experiment files in {experiments}: name your study's folder with --experiments")
    ours = experiments == Path("experiments") and REPOSITORY_DOCUMENT.is_file()  # the repository's own study
    data = data or (results_dir() if ours else experiments / "tables")
    doc = doc or (REPOSITORY_DOCUMENT if ours else experiments / "results.md")
    studied = [read_experiment(file) for file in files]
    gathered = tables.gather(studied, runs or sweeps_dir(), data)
    text = doc.read_text(encoding="utf-8") if doc.exists() else document.draft(studied)
    made = document.render(text, gathered)
    pages = {doc: made}
    if ours and README.is_file():  # README quotes figures within its sentences
        pages[README] = document.render(README.read_text(encoding="utf-8"), gathered)
    written = tables.write(gathered, data)
    doc.absolute().parent.mkdir(parents=True, exist_ok=True)
    for page, rendered in pages.items():
        with write_atomic(page.absolute()) as file:
            file.write(rendered.encode())
    named = {experiment.name: experiment for experiment in gathered.experiments}
    drawn = []
    for kind, name in document.figures(made):
        if gathered.rows(named[name]):
            drawn.append(doc.parent / figure_file(kind, name))
            study_charts.write_svg(study_charts.FIGURES[kind](gathered, named[name]), drawn[-1])
    if json:
        print(gathered.summary.to_json(orient="records", indent=1))
    for trial, why in gathered.missing.items():
        people.print(f"{trial}: missing, {why}")
    for path in [*written, *pages, *drawn]:
        people.print(f"wrote {path}")
    return 0


def _list_trials(trials: Sequence[Trial], standings: Sequence[sweeping.Standing], root: Path, as_json: bool) -> int:
    rows: list[dict[str, Any]] = [
        {
            "experiment": trial.experiment, "arm": trial.arm, "seed": trial.seed, "state": state,
            "rounds": sweeping.finished_rounds(root / trial.folder), "path": str(root / trial.folder),
            "command": export.command_line(trial.config),
        }
        for trial, state in zip(trials, standings, strict=True)
    ]  # fmt: skip
    if as_json:
        print(jsonlib.dumps(rows, indent=1))
        return 0
    table = Table("run", "state", "rounds", "command")
    for trial, row in zip(trials, rows, strict=True):
        table.add_row(str(trial), row["state"], f"{row['rounds']}/{trial.config.rounds}", row["command"])
    print_table(table)
    return 0


class _Screen:
    """What people see meanwhile: a bar for all, one for each running run, and a line for each that has ended."""

    def __init__(self, todo: Sequence[Trial], total: int, as_json: bool) -> None:
        self.left, self.total, self.as_json, self.failed = len(todo), total, as_json, 0
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self.progress = Progress(
            *columns, console=people, transient=True, disable=not people.is_terminal, speed_estimate_period=3600
        )
        self.all = self.progress.add_task("rounds of all runs", total=sum(trial.config.rounds for trial in todo))
        self.bars: dict[Trial, TaskID] = {}
        self.rounds: dict[Trial, int] = {}

    def __enter__(self) -> _Screen:
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def say(self, line: str) -> None:
        people.print(line)

    def started(self, trial: Trial) -> None:
        self.bars[trial] = self.progress.add_task(str(trial), total=trial.config.rounds)
        if not people.is_terminal:
            self.say(f"{trial}: started")

    def look(self, children: Sequence[sweeping.Child]) -> None:
        for child in children:
            self._reached(child.trial, sweeping.finished_rounds(child.path))

    def _reached(self, trial: Trial, rounds: int) -> None:
        if rounds != self.rounds.get(trial):
            self.rounds[trial] = rounds
            self.progress.update(self.bars[trial], completed=rounds)
            self.progress.update(self.all, completed=sum(self.rounds.values()))

    def ended(self, outcome: sweeping.Outcome) -> None:
        trial = outcome.trial
        self.left -= 1
        if trial in self.bars:
            self._reached(trial, outcome.rounds)
            self.progress.remove_task(self.bars.pop(trial))
        if self.as_json:
            row = {"experiment": trial.experiment, "arm": trial.arm, "seed": trial.seed, "path": str(outcome.path)}
            state = "failed" if outcome.error else "left" if outcome.left else "finished"
            print(jsonlib.dumps({**row, "state": state, "rounds": outcome.rounds, "error": outcome.error}), flush=True)
        if outcome.error:
            self.failed += 1
            log = sweeping.log_file(outcome.path)
            self.say(f"{trial}: failed after {outcome.rounds} rounds: {outcome.error} (all it said: {log})")
            return
        if outcome.left:
            self.say(f"{trial}: left to the other process that is running it")
            return
        summary = load_run(outcome.path).summary()
        seconds = self.progress.tasks[0].time_remaining
        left = "" if seconds is None else f", about {seconds / 60:.0f} min left"
        self.say(
            f"{trial}: accuracy {summary['accuracy']:.4f}, {summary['bpp_up']:.4f} bpp up "
            f"({self.total - self.left} of {self.total} runs{left})"
        )


def gallery(
    *,
    out: Annotated[Place, tyro.conf.arg(help="The file to write.")] = Path("gallery.html"),
    json: Json = False,
) -> int:
    """Write everything that has been measured as one HTML file: comparisons, curves, and the transmitted pictures.

    It needs no server and no network.
    """
    from deltamask.plots.gallery import gallery as page
    from deltamask.studies.measured import measured_runs

    with write_atomic(out.absolute()) as file:
        file.write(page([*list_runs(recorded_dir()), *measured_runs()]).encode())
    if json:
        print(jsonlib.dumps({"path": str(out), "bytes": out.stat().st_size}))
    else:
        people.print(f"wrote {out}, {byte_size(out.stat().st_size)}")
    return 0
