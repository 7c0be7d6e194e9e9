"""Runs that are killed at random moments and resumed: their records must be those of a run that nobody touched.

    PYTHONPATH=. python benchmarks/kills.py --runs 100
    PYTHONPATH=. python benchmarks/kills.py --runs 100 --first 40  # goes on: run n is the same whenever

Every method in turn, with the tiny backbone of the tests. Each run is a child process that gets SIGKILL after a random
part of the time that a whole run takes, again and again, until one comes to its end. Then its records, its checkpoint
and its kept payloads are compared with those of an uninterrupted run, and nothing half-written may be left.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
import tyro

from deltamask.config import RunConfig
from deltamask.methods import methods
from deltamask.runs import payloads
from deltamask.runs.folder import RunFolder
from deltamask.runs.reader import load_run
from deltamask.runs.runner import execute
from deltamask.task.task import load_task
from tests.support import tiny

KILLS = 6  # of one run at most; then it is left alone


def play(folder: RunFolder, config: RunConfig) -> None:
    """Run or go on, saying nothing."""
    execute(folder, config, on_record=lambda record: None, show=lambda what, done, total: None)


def in_a_child(folder: RunFolder, config: RunConfig, seconds: float | None) -> bool:
    """Play in a process of its own, killed after `seconds`. Did it come to its end?"""
    child = os.fork()
    if child == 0:
        try:
            play(folder, config)
        except BaseException as error:
            print(f"{folder.path}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit(f"{folder.path} failed")
    return os.WIFEXITED(status)


def left_by(folder: RunFolder, config: RunConfig) -> dict[str, Any]:
    """What a run leaves that must not depend on how often it was killed."""
    run = load_run(folder.path)
    stored = folder.load_state(config)
    assert stored is not None
    return {
        "state": run.state,
        "records": [tiny.timeless(record) for record in run.records],
        "round": stored[0],
        "arrays": {name: (array.dtype.str, array.tobytes()) for name, array in stored[1].items()},
        "payloads": {name: message.read() for name, message in payloads.messages(folder.path).items()},
        "half-written": [path.name for path in folder.path.rglob("*.tmp")],
    }


def main(runs: int = 100, seed: int = 0, first: int = 0) -> int:
    """Kill and compare.

    Args:
        runs: How many runs, spread over the methods.
        seed: Of the moments at which they are killed.
        first: The number of the first run that is played; those before it are left out.
    """
    names = list(methods.names())
    kills = different = 0
    with tempfile.TemporaryDirectory(prefix="deltamask-kills-") as place:
        os.environ["DELTAMASK_CACHE"] = f"{place}/cache"
        load_task(tiny.config())
        whole: dict[str, tuple[float, dict[str, Any]]] = {}
        every = zip(range(runs), itertools.cycle(names), strict=False)
        for number, name in itertools.islice(every, first, None):
            draw = random.Random(f"{seed}/{number}")
            config = tiny.config(method=name, rounds=4, rho=0.5, kappa=0.8)
            if name not in whole:
                reference = RunFolder.create(Path(place) / f"whole-{name}", config)
                in_a_child(reference, config, None)  # compiles what it needs
                reference = RunFolder.create(Path(place) / f"whole-{name}-again", config)
                begun = time.monotonic()
                in_a_child(reference, config, None)
                whole[name] = time.monotonic() - begun, left_by(reference, config)
            seconds, expected = whole[name]
            folder = RunFolder.create(Path(place) / f"run-{number}", config)
            for _ in range(KILLS):
                if in_a_child(folder, config, draw.uniform(0, 1.1 * seconds)):
                    break
                kills += 1
            else:
                in_a_child(folder, config, None)
            found = left_by(folder, config)
            if wrong := [part for part in expected if found[part] != expected[part]]:
                different += 1
                print(f"run {number}, {name}: {', '.join(wrong)} differ", flush=True)
            print(f"{number + 1} of {runs}, {name}, killed {kills} times so far", file=sys.stderr, flush=True)
    played = max(0, runs - first)
    print(f"{played} runs of {len(names)} methods, killed {kills} times: {played - different} the same")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
