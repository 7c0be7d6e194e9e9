"""What benchmarks measure with: seconds, memory, cases in processes of their own, and where results go."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def best_of(work: Callable[[], object], repeat: int = 7, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of the quickest of `repeat` calls, after one that warms up."""
    times = []
    for _ in range(repeat + 1):
        begin = clock()
        work()
        times.append(clock() - begin)
    return min(times[1:])


def peak_bytes() -> int:
    """The most memory that this process has held resident so far.

    On Linux from /proc: `getrusage` gives a child process its parent's peak as well.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except OSError:  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def apart(script: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Any:
    """What `python script arguments` prints as JSON, run in a process of its own. CalledProcessError if it fails."""
    done = subprocess.run(
        [sys.executable, script, *arguments], env={**os.environ, **(environment or {})}, stdout=subprocess.PIPE,
        check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def store(results: Any, path: Path | None) -> None:
    """Write results as JSON; None: nowhere."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1) + "\n")
