"""How long a command takes before it says anything, beside what importing torch alone takes.

    python benchmarks/start_up.py            (half a minute; benchmarks/results/start_up.json)
    python benchmarks/start_up.py --quick    (does it run? two of them once, nothing written)

Each in a process of its own, with no runs but the recorded ones. Seconds on the clock, and of a core, which say more on
a machine that has other work.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import tyro
from timing import RESULTS, store

STORED = RESULTS / "start_up.json"
COMMAND = [str(Path(sys.executable).with_name("deltamask"))]
CASES = {
    "import torch": [sys.executable, "-c", "import torch"],  # what the others are held against
    "deltamask --help": [*COMMAND, "--help"],
    "deltamask run --help": [*COMMAND, "run", "--help"],
    "deltamask runs": [*COMMAND, "runs"],
    "deltamask show": [*COMMAND, "show", "fashion"],
    "deltamask doctor": [*COMMAND, "doctor"],
}


def measured(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """(seconds, seconds of a core) of one call."""
    before, begin = _of_children(), time.perf_counter()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin, _of_children() - before


def _of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main(tries: int = 5, quick: bool = False) -> None:
    """Measure, print and store.

    Args:
        tries: of each command; the median counts.
        quick: one try of two of them; nothing is stored.
    """
    with tempfile.TemporaryDirectory() as empty:
        environment = {**os.environ, "DELTAMASK_RUNS": str(Path(empty) / "runs")}
        rows = {}
        for name, command in list(CASES.items())[: 2 if quick else None]:
            if not quick:
                measured(command, environment)  # from disk into memory
            times = [measured(command, environment) for _ in range(1 if quick else tries)]
            seconds, of_a_core = (round(median(each), 3) for each in zip(*times, strict=True))
            rows[name] = {"s": seconds, "core_s": of_a_core}
    for row in rows.values():
        row["of_import_torch"] = round(row["core_s"] / rows["import torch"]["core_s"], 2)
    print(json.dumps(rows, indent=1))
    store(rows, None if quick else STORED)


if __name__ == "__main__":
    tyro.cli(main)
