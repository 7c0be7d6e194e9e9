"""How far a run has come, in words."""

from __future__ import annotations

import numpy as np
from ui import style

from deltamask.base.progress import ALONE
from deltamask.runs.reader import Run


def of(run: Run) -> tuple[float, str]:
    """(share done, what is going on and how long it will take) of an active run."""
    progress = run.status.get("progress") or {}
    done, total = progress.get("done", 0), max(1, progress.get("total", 1))
    what = progress.get("what", "")
    if run.state == "starting" or not what:
        return 0.0, "Starting: loading the libraries"
    if what == ALONE:
        return done / total, f"Going alone, client {min(done + 1, total)} of {total} (once for this run)"
    if not what.startswith("round"):
        begun = "Paused. " if run.state == "paused" else ""
        count = f": {done:,} of {total:,}" if total > 1 else ""
        return done / total, f"{begun}{what}{count} (once for this task, then cached)"
    rounds = run.config.rounds
    finished = len(run.records)
    share = min(1.0, (finished + done / total) / (rounds + 1))
    if run.state == "paused":
        return share, f"Paused {after(finished - 1)} of {rounds}"
    seconds = [sum(record["seconds"].values()) for record in run.records if record["round"] > 0][-5:]
    left = ""
    if seconds:
        left = f", about {style.duration(float(np.mean(seconds)) * (rounds + 1 - finished - done / total))} left"
    return share, f"Round {finished} of {rounds}, client {min(done + 1, total)} of {total}{left}"


def after(round: int) -> str:
    """A run may be stopped or paused before its first round has ended."""
    return f"after round {round}" if round >= 0 else "before its first round ended,"
