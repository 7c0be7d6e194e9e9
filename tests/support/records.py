"""Records and run folders made by hand, in round figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deltamask.config import RunConfig
from deltamask.runs.folder import RunFolder, write_json
from deltamask.runs.reader import Run, load_run

TASK: dict[str, Any] = {
    "d": 1600, "layers": [{"name": "a", "start": 0, "stop": 1600, "shape": [40, 40]}], "classes": ["left", "right"],
    "label_counts": [[5, 5], [2, 8]],
}  # fmt: skip


def client(number: int, **changes: Any) -> dict[str, Any]:
    """A client's line, with every field."""
    plain = {
        "client": number, "samples": 10, "accuracy": 0.5, "loss": None, "uplink_bytes": 50, "flips": None, "kept": None,
        "false_flips": None, "dropped": None,
    }  # fmt: skip
    return plain | changes


def record(round: int, **changes: Any) -> dict[str, Any]:
    """A record with every field."""
    plain = {
        "round": round, "accuracy": min(1.0, round / 20), "accuracy_threshold": None, "accuracy_sampled": None,
        "accuracy_worst": 0.375, "accuracy_spread": 0.125, "loss": 1.0, "uplink_bytes": 100, "downlink_bytes": 400,
        "bpp_up": 0.25, "bpp_down": 1.0, "bpp_total": 1.25, "broadcast_bytes": 200, "flips": None, "kept": None,
        "false_flips": None, "entropy_iid": None, "entropy_side": None, "kept_by_layer": {"a": 1},
        "theta_histogram": [1, 2], "skipped": None, "clients": [client(0), client(1)], "seconds": {"train": 1.5},
        "head_temperature": None, "class_accuracy": [0.5, None], "client_accuracy": None,
        "client_accuracy_adapted": None, "alone": None, "metrics": None, "hits": None, "epsilon": None,
    }  # fmt: skip
    plain |= changes
    return plain | {"bpp_total": plain["bpp_up"] + plain["bpp_down"]}


def finished_run(path: Path, rounds: int = 3, **changes: Any) -> Run:
    """A finished run without payloads, of the hand-made task."""
    folder = RunFolder.create(path, RunConfig(rounds=rounds, **changes))
    for round in range(rounds + 1):
        folder.append(record(round))
    write_json(path / "task.json", TASK)
    folder.write_status(state="finished", round=rounds, rounds=rounds)
    return load_run(path)
