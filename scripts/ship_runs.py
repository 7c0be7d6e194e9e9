"""Copy runs of the study to where the dashboard finds recorded runs: `make record`, or after the sweeps,
`python scripts/ship_runs.py [--runs runs/sweeps]`.

Payloads come along for the first seed only, FedPM's, which are large, for one round in eight.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from deltamask.base.paths import recorded_dir, runs_dir
from deltamask.runs.reader import load_run
from deltamask.studies.experiments import read_experiment

FILES = ("config.json", "task.json", "rounds.jsonl", "status.json")
# Arms of `headline` are shipped under their own names, these of `options` beside them.
OPTIONS = {
    "deltamask-per_client-beta-bfuse8": "fashion",
    "deltamask-per_client-beta-gap": "fashion-gap",
    "deltamask-per_client-unbiased-bfuse8": "fashion-unbiased",
}


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
        if run.config.method != "fedpm" or int(file.name[1:5]) % 8 <= 1:
            shutil.copy(file, target / "payloads" / file.name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=runs_dir() / "sweeps", help="folder of the sweeps' runs")
    runs = parser.parse_args().runs
    chosen = {f"options/{arm}-s0": name for arm, name in OPTIONS.items()}
    for trial in read_experiment(Path("experiments/headline.toml")).trials:
        chosen[str(trial.folder)] = f"fashion-{trial.arm}" + (f"-s{trial.seed}" if trial.seed else "")
    for folder, name in chosen.items():
        ship(runs / folder, recorded_dir() / name)
        print(name)
