"""Copy the runs of an experiment to where the dashboard finds recorded runs: `python scripts/ship_runs.py headline`

`deltamask sweep experiments/headline.toml` must have made them. The first seed's payloads come along where the run kept
them, the others' stay behind; FedPM's, which are large, come along for one round in eight.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from deltamask.store import load_run, recorded_dir, runs_dir

FILES = ("config.json", "task.json", "rounds.jsonl", "status.json")


def ship(source: Path, target: Path) -> None:
    """One finished run."""
    run = load_run(source)
    if run.state != "finished":
        raise SystemExit(f"{source} is {run.state}: finish it first")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in FILES:
        shutil.copy(source / name, target / name)
    if run.config.seed or not (source / "payloads").exists():
        return
    (target / "payloads").mkdir()
    for file in sorted((source / "payloads").iterdir()):
        if run.config.method != "fedpm" or int(file.name[1:5]) % 8 == 1:
            shutil.copy(file, target / "payloads" / file.name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment")
    parser.add_argument("--runs", type=Path, default=runs_dir() / "sweeps", help="folder of the sweeps' runs")
    parser.add_argument("--prefix", help="of the recorded runs' names; by default the experiment's name and a dash")
    chosen = parser.parse_args()
    prefix = f"{chosen.experiment}-" if chosen.prefix is None else chosen.prefix
    for config in sorted((chosen.runs / chosen.experiment).glob("*/config.json")):
        name = config.parent.name
        ship(config.parent, recorded_dir() / f"{prefix}{name}")
        print(f"{prefix}{name}")
