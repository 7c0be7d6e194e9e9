"""From the run folders of experiments to tidy tables: data/results/. Needs no torch.

runs.jsonl     a line a run: experiment, arm, seed, its whole config, and what made it
rounds.csv     a row a round of each run: accuracies, bits, bytes, flips
summary.csv    a row an arm: the mean over its seeds of every measure, and the half width of its 95 % interval
images.jsonl   which test images each run gets right (`images.py`), where its records say so

The tables alone are enough to make docs/results.md again: run folders are too large to ship.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from deltamask.base.files import write_atomic
from deltamask.config import RunConfig
from deltamask.runs import StoreError
from deltamask.runs.figures import MEASURES, OF_CLIENTS
from deltamask.runs.reader import Run, load_run
from deltamask.studies import images, intervals
from deltamask.studies.experiments import Experiment, Trial
from deltamask.studies.intervals import Difference, Figure, half_width
from deltamask.studies.sweep import Standing, standing

Row = dict[str, Any]  # of the summary

Arms = Mapping[tuple[str, str], RunConfig]  # (experiment, arm) → its config with any seed
KEY = ["experiment", "arm", "seed"]
# Of a record's fields, those that are a figure of every round.
RECORDED = [
    "round", "accuracy", "accuracy_threshold", "accuracy_sampled", "accuracy_worst", "accuracy_spread", "loss",
    "bpp_up", "bpp_down", "uplink_bytes", "downlink_bytes", "flips", "kept", "false_flips", "bpp_total",
]  # fmt: skip
COLUMNS = [*RECORDED, *OF_CLIENTS]  # and figures of a record's lists

WHY: dict[Standing, str] = {"new": "not run yet", "begun": "cut short", "running": "still running"}


@dataclass(frozen=True)
class Results:
    """The tables, in the experiments' order. missing: trials without a finished run, and why. images: a line for each
    run of which it is known which images it gets right."""

    experiments: list[Experiment]
    runs: list[dict[str, Any]]
    rounds: pd.DataFrame
    summary: pd.DataFrame
    missing: dict[Trial, str]
    images: dict[images.Key, images.Line] = field(default_factory=dict)

    def rows(self, experiment: Experiment) -> list[Row]:
        """An experiment's rows of the summary, in its own order."""
        rows: Any = self.summary[self.summary["experiment"] == experiment.name].to_dict("records")
        return list(rows)


def gather(experiments: Sequence[Experiment], sweeps: Path, data: Path) -> Results:
    """The tables of all finished runs: from the run folders below `sweeps`, else from the tables in `data`.

    Rows in `data` of a trial that the experiments no longer have, or have with another config, are left out. StoreError
    if a run folder holds another config than its experiment says.
    """
    stored_runs, stored_rounds = read_tables(data)
    stored = {(run["experiment"], run["arm"], run["seed"]): run for run in stored_runs}
    runs, parts, missing = list[dict[str, Any]](), list[pd.DataFrame](), dict[Trial, str]()
    stored_images, right = images.read(data), dict[images.Key, images.Line]()
    for trial in (trial for experiment in experiments for trial in _by_arm(experiment)):
        path, key = sweeps / trial.folder, (trial.experiment, trial.arm, trial.seed)
        state = standing(trial, path)
        if state == "finished" and (run := load_run(path)).changes:
            missing[trial] = f"left out, since it changed midway: {'; '.join(run.changes)}"
        elif state == "finished":
            runs.append(describe(trial, run))
            parts.append(tidy_rounds(trial, run))
            if line := images.line_of(key, run):
                right[key] = line
        elif key in stored and config_of(stored[key]) == trial.config:
            runs.append(stored[key])
            rows = (stored_rounds[KEY] == list(key)).all(axis=1)
            parts.append(stored_rounds[rows])
            if key in stored_images:
                right[key] = stored_images[key]
        else:
            stale = key in stored and state == "new"
            missing[trial] = "the tables hold it with another config" if stale else WHY[state]
    rounds = _from_csv(_to_csv(pd.concat(parts, ignore_index=True))) if parts else stored_rounds.iloc[:0]
    labels = {(e.name, arm.name): arm.label for e in experiments for arm in e.arms}
    return Results(list(experiments), runs, rounds, _from_csv(_to_csv(summarise(rounds, labels))), missing, right)


def write(results: Results, data: Path) -> list[Path]:
    """Write the tables into `data`; returns their paths."""
    data.mkdir(parents=True, exist_ok=True)
    texts = {
        "runs.jsonl": "".join(json.dumps(run) + "\n" for run in results.runs),
        "rounds.csv": _to_csv(results.rounds),
        "summary.csv": _to_csv(results.summary),
    }
    for name, text in texts.items():
        with write_atomic(data / name) as file:
            file.write(text.encode())
    return [*(data / name for name in texts), *images.write(results.images, data)]


def describe(trial: Trial, run: Run) -> dict[str, Any]:
    """A run's line in runs.jsonl: what was asked, and what made it."""
    made = {name: run.provenance.get(name) for name in ("deltamask", "git_revision", "created")}
    task = {name: run.task.get(name) for name in ("d", "head_size", "test_samples", "torch", "threads")}
    return {**_key(trial), **made, **task, "config": run.config.model_dump()}


def tidy_rounds(trial: Trial, run: Run) -> pd.DataFrame:
    """One row a round, round 0 included.

    uplink_bytes, downlink_bytes: sums over the `sampled` clients; `clients` is N. dropped: clients whose payload was
    lost or could not be used. What a run does not record (a mask's threshold, flips of a dense update) is NaN.
    """
    frame = run.rounds[COLUMNS].apply(pd.to_numeric)
    frame["sampled"] = [len(record["clients"]) for record in run.records]
    frame["clients"] = run.config.clients
    frame["dropped"] = [sum(c["dropped"] is not None for c in record["clients"]) for record in run.records]
    for column, value in reversed(_key(trial).items()):
        frame.insert(0, column, value)
    return frame


def measure(rounds: pd.DataFrame) -> pd.DataFrame:
    """One row a run with all MEASURES: accuracies over the last ten rounds, bits a round, megabytes a client in all.

    Tables of an earlier revision have no figures of all clients: those measures are NaN.
    """
    rounds = rounds.reindex(columns=rounds.columns.union(list(OF_CLIENTS), sort=False))
    rows = []
    for key, run in rounds.groupby(KEY, sort=False):
        run = run.sort_values("round")
        rows.append({**dict(zip(KEY, key, strict=True)), "rounds": int(run["round"].max())})
        rows[-1] |= {name: of(run) for name, of in MEASURES.items()}
    return pd.DataFrame(rows, columns=[*KEY, "rounds", *MEASURES])


def summarise(rounds: pd.DataFrame, labels: dict[tuple[str, str], str]) -> pd.DataFrame:
    """One row an arm: seeds (how many), and of each measure its mean and `_ci95`, the half width of its interval."""
    rows = []
    for (experiment, arm), runs in measure(rounds).groupby(["experiment", "arm"], sort=False):
        row = {"experiment": experiment, "arm": arm, "label": labels[str(experiment), str(arm)], "seeds": len(runs)}
        row["rounds"] = int(runs["rounds"].max())
        for name in MEASURES:
            row[name], row[f"{name}_ci95"] = float(runs[name].mean()), half_width(runs[name].to_numpy(np.float64))
        rows.append(row)
    columns = [column for name in MEASURES for column in (name, f"{name}_ci95")]
    return pd.DataFrame(rows, columns=["experiment", "arm", "label", "seeds", "rounds", *columns])


def difference(results: Results, experiment: str, arm: str, other: str) -> Difference:
    """Accuracy of arm − other over the seeds that both have: a pair shares its split, its draws and its test images."""
    table = _paired(results, experiment, arm, other, "accuracy")
    gaps = (table[arm] - table[other]).to_numpy(np.float64)
    sides = [[results.images.get((experiment, name, int(seed))) for seed in table.index] for name in (arm, other)]
    lines = [line for side in sides for line in side if line]
    if not lines or len(lines) < 2 * len(gaps) or len({line["images"] for line in lines}) > 1:
        return intervals.paired(gaps)
    right, against = (np.array([images.shares(line) for line in side if line]) for side in sides)
    return intervals.paired(gaps, right, against)


def ratio(results: Results, experiment: str, arm: str, other: str, name: str) -> Figure:
    """How many times arm's measure `name` the other's is, over the seeds that both have."""
    table = _paired(results, experiment, arm, other, name)
    return intervals.figure((table[other] / table[arm]).to_numpy(np.float64))


def gain(results: Results, experiment: str, arm: str, other: str, name: str) -> Figure:
    """Arm's measure `name`, a share, less the other's, in points, over the seeds that both have."""
    table = _paired(results, experiment, arm, other, name)
    return intervals.figure(100 * (table[arm] - table[other]).to_numpy(np.float64))


def _paired(results: Results, experiment: str, arm: str, other: str, name: str) -> pd.DataFrame:
    """A measure of two arms, side by side: one row for each seed that both have."""
    rounds = results.rounds
    runs = measure(rounds[(rounds["experiment"] == experiment) & rounds["arm"].isin([arm, other])])
    return runs.pivot(index="seed", columns="arm", values=name).reindex(columns=[arm, other]).dropna()


def option_effects(results: Results, experiment: Experiment) -> pd.DataFrame:
    """What each option is worth: one row for each two arms that differ in a single field.

    field, old, new: what changes, old being the first arm's value. points: accuracy gained, in points, paired by
    seed. up, total: factor on bpp up and on bpp up + down.
    """
    rows = {row["arm"]: row for row in results.rows(experiment)}
    arms = [arm for arm in experiment.arms if arm.name in rows]
    dumps = {arm.name: arm.config.model_dump() for arm in arms}
    found = []
    for arm, other in itertools.permutations(arms, 2):
        differing = [name for name, value in dumps[arm.name].items() if value != dumps[other.name][name]]
        if len(differing) != 1 or dumps[arm.name][differing[0]] != dumps[arms[0].name][differing[0]]:
            continue
        gap = difference(results, experiment.name, other.name, arm.name)
        if gap.pairs:
            up, total = (rows[other.name][name] / rows[arm.name][name] for name in ("bpp_up", "bpp_total"))
            field, old, new = differing[0], dumps[arm.name][differing[0]], dumps[other.name][differing[0]]
            found.append((field, str(old), str(new), arm.name, other.name, 100 * gap.mean, up, total))
    return pd.DataFrame(found, columns=["field", "old", "new", "arm", "other", "points", "up", "total"])


def _by_arm(experiment: Experiment) -> list[Trial]:
    order = [arm.name for arm in experiment.arms]
    return sorted(experiment.trials, key=lambda trial: order.index(trial.arm))


def _key(trial: Trial) -> dict[str, Any]:
    return {"experiment": trial.experiment, "arm": trial.arm, "seed": trial.seed}


def config_of(run: dict[str, Any]) -> RunConfig | None:
    """The config in a line of runs.jsonl; None for one that is not valid any more."""
    try:
        return RunConfig(**run["config"])
    except ValidationError:
        return None


def _to_csv(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, float_format="%.7g", lineterminator="\n")


def _from_csv(text: str) -> pd.DataFrame:
    names = dict.fromkeys(["experiment", "arm", "label"], str)
    return pd.read_csv(io.StringIO(text), dtype=names, keep_default_na=False, na_values=[""])


def read_arms(data: Path) -> tuple[Arms, pd.DataFrame]:
    """(all arms that were run, the rounds of all runs), as `read_tables` finds them."""
    runs, rounds = read_tables(data)
    return {(run["experiment"], run["arm"]): config for run in runs if (config := config_of(run))}, rounds


def read_tables(data: Path) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """The stored runs and rounds; none where there are no tables yet. StoreError if they are damaged."""
    if not (data / "runs.jsonl").exists():
        return [], pd.DataFrame(columns=[*KEY, *COLUMNS, "sampled", "clients", "dropped"])
    try:
        runs = [json.loads(line) for line in (data / "runs.jsonl").read_text().splitlines()]
        return runs, _from_csv((data / "rounds.csv").read_text())
    except (OSError, ValueError) as error:
        raise StoreError(f"{data}: the tables cannot be read ({error}); restore them or delete the folder") from error
