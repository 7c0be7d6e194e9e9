"""state.safetensors: the server's state after a round, and what it takes to know that it is whole and belongs here.

Beside the arrays it holds the round, how many records belong to it, the config it was made with, and a checksum.
Earlier revisions wrote the round alone: what a checkpoint does not say is not checked.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
import xxhash

from deltamask.base.files import write_atomic
from deltamask.config import RunConfig
from deltamask.privacy import plan
from deltamask.runs import StoreError

Arrays = dict[str, np.ndarray]

FREE = {"device", "keep_payloads"}  # fields that no state depends on


def save(path: Path, round: int, arrays: Arrays, config: RunConfig) -> None:
    """Replace the checkpoint: the server's state after `round` of a run with `config`."""
    about = {
        "round": str(round),
        "records": str(round + 1),
        "config": config.model_dump_json(),
        "checksum": _checksum(arrays),
    }
    with write_atomic(path) as file:
        file.write(safetensors.numpy.save(arrays, metadata=about))


def load(path: Path, config: RunConfig) -> tuple[int, Arrays] | None:
    """(round, arrays) of the checkpoint, or None if there is none.

    StoreError if it is damaged, or was made with another config.
    """
    if not path.exists():
        return None
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            about = file.metadata()
            round, arrays = int(about["round"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        made_with = json.loads(about.get("config", "{}"))
        whole = int(about.get("records", round + 1)) == round + 1
    except Exception as error:  # the reader raises its own class, not exported under a stable name
        raise StoreError(_damaged(path, str(error))) from error
    if not whole or about.get("checksum", checksum := _checksum(arrays)) != checksum:
        raise StoreError(_damaged(path, "its checksum does not fit"))
    if differences := _differences(made_with, config):
        raise StoreError(
            f"{path} was made with another config ({'; '.join(differences)}): restore config.json, or run the new "
            "config elsewhere with --out"
        )
    return round, arrays


def _damaged(path: Path, why: str) -> str:
    return f"{path} is damaged ({why}); delete it and rounds.jsonl to start from round 0"


def _checksum(arrays: Arrays) -> str:
    digest = xxhash.xxh3_128()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        if array.size:
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _differences(made_with: dict[str, object], config: RunConfig) -> list[str]:
    """Which fields the state was made with otherwise. The number of rounds counts where a schedule looks at it, or
    noise that was found for so many."""
    now = config.model_dump()
    scheduled = any(name.endswith("_schedule") and value != "constant" for name, value in now.items())
    scheduled = scheduled or (plan.is_private(config) and not config.dp_noise)
    compared = [name for name in now if name in made_with and name not in FREE and (name != "rounds" or scheduled)]
    return [f"{name} was {made_with[name]} and is {now[name]}" for name in compared if made_with[name] != now[name]]
