"""A run as one file, and as the command that makes it again. Needs no torch."""

from __future__ import annotations

import json
import os
import shlex
import stat
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deltamask.base.files import TEMPORARY, write_atomic
from deltamask.config import RunConfig
from deltamask.config.run_config import UNPRINTABLE
from deltamask.runs import StoreError, payloads
from deltamask.runs.figures import covers_all_clients
from deltamask.runs.notebook import as_notebook
from deltamask.runs.payloads import Message
from deltamask.runs.reader import Run
from deltamask.runs.stored import MARK

if TYPE_CHECKING:
    import pandas as pd

NOT_EXPORTED = {payloads.PACK, MARK, "run.lock", "run.log", "control", "state.safetensors"}
ENDINGS = (".zip", ".csv", ".json", ".ipynb")
FORMULA = ("=", "+", "-", "@")


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
        "changes": run.changes,
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
    """Write `target` as .zip, .csv, .json, or .ipynb, which makes the run again. StoreError for any other ending."""
    if target.suffix not in ENDINGS:
        raise StoreError(
            f"cannot export to {target.name!r}: use a name that ends in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}"
        )
    with write_atomic(target.absolute()) as file:
        if target.suffix == ".csv":
            file.write(csv_text(rounds_table(run)).encode())
        elif target.suffix == ".ipynb":
            file.write(json.dumps(as_notebook(run), indent=1, allow_nan=False).encode())
        elif target.suffix == ".json":
            file.write(json.dumps(as_json(run), indent=1, allow_nan=False).encode())
        else:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, source in sorted(_files(run).items()):
                    if isinstance(source, Path):
                        archive.write(source, f"{run.path.name}/{name}")
                    else:
                        archive.writestr(f"{run.path.name}/{name}", source.read())


def _files(run: Run) -> dict[str, Path | Message]:
    """What an exported zip holds, by name: packed messages as if they were loose, for whoever reads no packs.

    Links are not followed: what they lead to is not the run's.
    """
    packed = {f"{payloads.FOLDER}/{name}": message for name, message in payloads.messages(run.path).items()}
    found: dict[str, Path | Message] = {name: each for name, each in packed.items() if not each.place.is_symlink()}
    for place, _, names in os.walk(run.path, followlinks=False):
        for path in (Path(place) / name for name in names):
            if stat.S_ISREG(path.lstat().st_mode) and path.name not in NOT_EXPORTED and path.suffix != TEMPORARY:
                found[path.relative_to(run.path).as_posix()] = path
    return found


def csv_text(table: pd.DataFrame) -> str:
    """A table as CSV in which no cell is a formula: a spreadsheet would compute a text that begins like one."""

    def cell(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        line = UNPRINTABLE.sub(" ", value)
        return f"'{line}" if line.lstrip().startswith(FORMULA) else line

    texts = table.select_dtypes(include=["object", "string", "category"]).columns
    safe = table.assign(**{name: table[name].map(cell) for name in texts}).rename(columns=cell)
    return str(safe.to_csv(index=False))
