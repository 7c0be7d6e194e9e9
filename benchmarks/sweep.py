"""How many runs an hour a study gets done, against the same runs one after the other on all threads.

    python benchmarks/sweep.py           (some ten minutes on two idle cores; benchmarks/results/sweep.json)
    python benchmarks/sweep.py --quick   (does it run? one run of a round, nothing written)

The arms are those of experiments/headline.toml, with few rounds each; trunk features are there before it begins. Every
run is the `deltamask run` of the sweep, start-up and all.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

import tyro
from timing import RESULTS, store

from deltamask.config import RunConfig
from deltamask.config.presets import preset
from deltamask.task.task import load_task

STORED = RESULTS / "sweep.json"
HEADLINE = Path(__file__).resolve().parent.parent / "experiments" / "headline.toml"
WAYS = {"one after the other, 2 threads": (1, 2), "two at a time, 1 thread each": (2, 1)}  # (jobs, threads)
SMALL = {"train_samples": 200, "test_samples": 50, "probe_epochs": 1}


def study(place: Path, arms: int, rounds: int, changes: dict[str, int]) -> Path:
    """The headline's first arms with one seed and few rounds, as an experiment of its own."""
    headline = tomllib.loads(HEADLINE.read_text())
    base = {**headline["base"], "rounds": rounds, "keep_payloads": "none", **changes}
    lines = ['title = "Pace"', 'question = "How many runs an hour?"', "seeds = [0]", "[base]", *_toml(base)]
    for name, arm in list(headline["arms"].items())[:arms]:
        lines += [f"[arms.{name}]", *_toml({**arm, "keep_payloads": "none", "seeds": [0]})]
    path = place / "pace.toml"
    path.write_text("\n".join(lines))
    return path


def _toml(table: dict[str, object]) -> list[str]:
    return [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in table.items()]


def seconds(experiment: Path, out: Path, jobs: int, threads: int) -> float:
    """From the command's start to its end. CalledProcessError if a run fails."""
    begin = time.perf_counter()
    command = Path(sys.executable).with_name("deltamask")
    words = ["sweep", experiment, "--out", out, "--jobs", jobs, "--threads", threads]
    subprocess.run([command, *map(str, words)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def main(arms: int = 4, rounds: int = 8, quick: bool = False) -> None:
    """Measure, print and store.

    Args:
        arms: of the headline study.
        rounds: of each run.
        quick: one arm, one round, small data; nothing is stored.
    """
    arms, rounds, changes = (1, 1, SMALL) if quick else (arms, rounds, {})
    load_task((RunConfig() if quick else preset("fashion")).replace(**changes))
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        experiment = study(Path(folder), arms, rounds, changes)
        for number, (name, (jobs, threads)) in enumerate(WAYS.items()):
            took = seconds(experiment, Path(folder) / f"out{number}", jobs, threads)
            rows[name] = {"seconds": round(took, 1), "runs_an_hour": round(3600 * arms / took, 1)}
    first, second = rows.values()
    report = {
        "arms": arms, "rounds": rounds, "cores": os.cpu_count(), "ways": rows,
        "times_the_runs": round(first["seconds"] / second["seconds"], 2),
    }  # fmt: skip
    print(json.dumps(report, indent=1))
    store(report, None if quick else STORED)


if __name__ == "__main__":
    tyro.cli(main)
