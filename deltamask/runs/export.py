"""A run as one file, and as the command that makes it again. Needs no torch."""

from __future__ import annotations

import json
import shlex
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd

from deltamask.base.files import write_atomic
from deltamask.config import RunConfig
from deltamask.runs import StoreError, payloads
from deltamask.runs.figures import covers_all_clients
from deltamask.runs.payloads import Message
from deltamask.runs.reader import Run

NOT_EXPORTED = {payloads.PACK, "run.lock", "run.log", "control", "state.safetensors"}


def command_words(config: RunConfig) -> list[str]:
    """The `deltamask run` command, word by word, with every field that differs from its default."""
    words = ["deltamask", "run"]
    for name, value in config.model_dump().items():
        if value != RunConfig.model_fields[name].default:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words


def command_line(config: RunConfig) -> str:
    """The same as a line for a shell."""
    return shlex.join(command_words(config))


def as_json(run: Run) -> dict[str, Any]:
    """Everything but the payloads, as plain values."""
    return {
        "run": run.id,
        "state": run.state,
        "command": command_line(run.config),
        "config": run.config.model_dump(),
        **run.provenance,
        "task": run.task,
        "summary": run.summary(),
        "worst_client_covers": "all clients" if covers_all_clients(run.records) else "sampled clients",
        "rounds": run.records,
    }


def rounds_table(run: Run) -> pd.DataFrame:
    """One row a round, without what does not fit into a cell."""
    return run.rounds.drop(columns=["seconds", "kept_by_layer", "theta_histogram"], errors="ignore")


def write(run: Run, target: Path) -> None:
    """Write `target` as .zip, .csv or .json. StoreError for any other ending."""
    if target.suffix not in (".zip", ".csv", ".json"):
        raise StoreError(f"cannot export to {target.name!r}: use a name that ends in .zip, .csv or .json")
    with write_atomic(target.absolute()) as file:
        if target.suffix == ".csv":
            rounds_table(run).to_csv(file, index=False)
        elif target.suffix == ".json":
            file.write(json.dumps(as_json(run), indent=1, allow_nan=False).encode())
        else:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, source in sorted(_files(run).items()):
                    if isinstance(source, Path):
                        archive.write(source, f"{run.id}/{name}")
                    else:
                        archive.writestr(f"{run.id}/{name}", source.read())


def _files(run: Run) -> dict[str, Path | Message]:
    """What an exported zip holds, by name: packed messages as if they were loose, for whoever reads no packs."""
    packed = {f"{payloads.FOLDER}/{name}": message for name, message in payloads.messages(run.path).items()}
    loose = {
        path.relative_to(run.path).as_posix(): path
        for path in run.path.rglob("*")
        if path.is_file() and path.name not in NOT_EXPORTED and path.suffix != ".tmp"
    }
    return packed | loose
