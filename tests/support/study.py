"""A small study that was really run, and its figures from the records by hand."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

from deltamask.cli import main
from deltamask.studies.experiments import Experiment, read_experiment
from deltamask.studies.tables import Results, gather
from tests.support import tiny

T2 = 4.302653  # Student's t, 97.5 %, two degrees of freedom

FILE = """
title = "Small"
question = "What is it worth?"
seeds = [0, 1, 2]
[base]
backbone = "tiny"
dataset = "digits"
image_size = 32
train_samples = 200
test_samples = 100
clients = 4
rho = 0.5
batch_size = 32
probe_epochs = 5
rounds = 12
keep_payloads = "none"
[arms.filter]
label = "Filter"
codec = ["bfuse8", "gap"]
[arms.fedpm]
label = "FedPM"
method = "fedpm"
"""
DOCUMENT = """# Small
Before <!-- made: value small fedpm bpp_up -->0.1234<!-- /made -->, between.
<!-- made: settings small --><!-- /made -->
<!-- made: table small -->old<!-- /made -->
<!-- made: statements small --><!-- /made -->
<!-- made: clients small --><!-- /made -->
<!-- made: choices small --><!-- /made -->
Gap: <!-- made: difference small filter-gap fedpm --><!-- /made -->. After.
"""


def command(root: Path, runs: str = "runs") -> int:
    folders = {"experiments": "experiments", "runs": runs, "data": "data", "doc": "results.md"}
    return main(["results", *(word for name, path in folders.items() for word in (f"--{name}", str(root / path)))])


def experiment_of(root: Path) -> Experiment:
    return read_experiment(root / "experiments" / "small.toml")


def results_of(root: Path) -> Results:
    return gather([experiment_of(root)], root / "runs", root / "data")


def read_csv(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def raw(root: Path, arm: str, seed: int) -> list[dict[str, Any]]:
    """A run's records, read without our reader."""
    lines = (root / "runs" / "small" / f"{arm}-s{seed}" / "rounds.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


HANDS: dict[str, Callable[[list[dict[str, Any]]], float]] = {
    "accuracy": lambda run: fmean(r["accuracy"] for r in run[3:]),  # rounds 3 … 12 are the last ten
    "accuracy_worst": lambda run: fmean(r["accuracy_worst"] for r in run[-10:]),
    "accuracy_spread": lambda run: fmean(r["accuracy_spread"] for r in run[-10:]),
    "accuracy_worst_tenth": lambda run: fmean(min(r["client_accuracy"]) for r in run[-10:]),  # of four, one
    "accuracy_best_tenth": lambda run: fmean(max(r["client_accuracy"]) for r in run[-10:]),
    "bpp_up": lambda run: fmean(8 * r["uplink_bytes"] / (2 * tiny.D) for r in run[1:]),  # two clients a round
    "bpp_down": lambda run: fmean(r["bpp_down"] for r in run[1:]),
    "bpp_total": lambda run: fmean(r["bpp_up"] + r["bpp_down"] for r in run[1:]),
    "bpp_up_all": lambda run: sum(8 * r["uplink_bytes"] for r in run) / (12 * 2 * tiny.D),
    "bpp_total_all": lambda run: sum(8 * (r["uplink_bytes"] + r["downlink_bytes"]) for r in run) / (12 * 2 * tiny.D),
    "megabytes_up": lambda run: sum(r["uplink_bytes"] for r in run) / 4 / 1e6,  # four clients in all
    "megabytes_down": lambda run: sum(r["downlink_bytes"] for r in run) / 4 / 1e6,
    "megabytes": lambda run: sum(r["uplink_bytes"] + r["downlink_bytes"] for r in run) / 4 / 1e6,
}
HANDS_FLIPS: dict[str, Callable[[list[dict[str, Any]]], float]] = {
    "kept": lambda run: fmean(r["kept"] for r in run[1:]),
    "false_flips": lambda run: fmean(r["false_flips"] for r in run[1:]),
}
