"""The small JSON files of a run folder, each with its schema and its largest size. Needs no torch.

A folder may come from anywhere: what is read here is a regular file, not too large, of the types it should have, and
its texts are short. StoreError names the file and what is wrong with it. Fields of later revisions are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError, field_validator

from deltamask.base.files import read_regular
from deltamask.config import RunConfig, explain_errors
from deltamask.config.run_config import UNPRINTABLE
from deltamask.runs import StoreError
from deltamask.simulation.records import Count, Name, first_fault

MAX_CONFIG = 1_000_000  # bytes
MAX_STATUS = 1_000_000
MAX_TASK = 50_000_000  # it lists what each client holds
MAX_MESSAGE = 10_000  # characters
MARK = "mark.json"
MAX_MARK = 10_000  # bytes
MAX_NOTE = 500  # characters

Short = Annotated[str, Field(max_length=100)]
Names = Annotated[list[Name], Field(max_length=10_000)]


class ConfigFile(BaseModel):
    """config.json: what was asked for, and what made it."""

    config: dict[str, Any]
    deltamask: Short | None = None
    git_revision: Short | None = None
    created: Short | None = None


class Progress(BaseModel):
    """How far the thing has come that is being done."""

    what: Annotated[str, Field(max_length=1000)] = ""
    done: Count = 0
    total: Count = 1


class StatusFile(BaseModel):
    """status.json: what the process last said. uploaded: the folder came as a zip."""

    state: Annotated[str, Field(max_length=20)] = "stopped"
    message: Annotated[str, Field(max_length=MAX_MESSAGE)] = ""
    round: Annotated[int, Field(ge=-1, le=10_000)] = -1
    rounds: Count = 0
    progress: Progress = Progress()
    pid: Any = None  # whatever it is: no such process lives
    pid_started: Any = None
    heartbeat: Short = ""
    uploaded: bool = False


class MarkFile(BaseModel):
    """mark.json: what its owner thinks of the run. note: one line, without control characters."""

    star: bool = False
    note: Annotated[str, Field(max_length=MAX_NOTE)] = ""

    @field_validator("note")
    @classmethod
    def _printable(cls, note: str) -> str:
        if UNPRINTABLE.search(note):
            raise ValueError("it holds a control character")
        return note


class LayerEntry(BaseModel):
    """A masked layer: its positions are start, …, stop − 1."""

    name: Name
    start: Count
    stop: Count
    shape: Annotated[list[Count], Field(max_length=10)] = []


class DataFile(BaseModel):
    """What the data were, as `datasets.identity` says it."""

    name: Annotated[str, Field(max_length=5000)]
    fingerprint: Short
    content: Short
    classes: Names
    train_samples: Count
    test_samples: Count


class WorldFile(BaseModel):
    """What the results rest on beside the config (`task/world.py`)."""

    data: DataFile
    split: Short
    weights: Annotated[str, Field(max_length=1000)]
    versions: Annotated[dict[Short, Short], Field(max_length=100)]


class TaskFile(BaseModel):
    """task.json: what is learnt, and which client holds how many samples of each class.

    world: missing in runs of earlier revisions, and where nobody sees all data. changes: what of it was another when
    the run went on, one line each.
    """

    d: Annotated[int, Field(ge=1, le=10**12)]
    head_size: Count = 0
    layers: Annotated[list[LayerEntry], Field(max_length=10_000)]
    classes: Annotated[list[Name], Field(max_length=10_000)]
    label_counts: Annotated[list[Annotated[list[Count], Field(max_length=10_000)]], Field(max_length=100_000)]
    train_samples: Count = 0
    test_samples: Count = 0
    skipped: Annotated[list[Annotated[str, Field(max_length=5000)]], Field(max_length=10_000_000)] = []
    notes: Annotated[list[Annotated[str, Field(max_length=20_000)]], Field(max_length=1000)] = []
    device: Short = ""
    torch: Short = ""
    threads: Count = 0
    world: WorldFile | None = None
    changes: Annotated[list[Annotated[str, Field(max_length=MAX_MESSAGE)]], Field(max_length=1000)] = []


def read_config(path: Path) -> tuple[RunConfig, dict[str, Any]]:
    """(the config, where it came from: deltamask, git_revision, created)."""
    stored = _read(path, ConfigFile, MAX_CONFIG)
    if stored is None:
        raise StoreError(f"{path} is missing: not a run folder")
    try:
        config = RunConfig(**stored.pop("config"))
    except (ValidationError, TypeError) as error:
        faults = explain_errors(error) if isinstance(error, ValidationError) else [str(error)]
        raise StoreError(f"{path}: {'; '.join(faults)[:MAX_MESSAGE]}") from None
    return config, stored


def read_status(path: Path) -> dict[str, Any]:
    """What the process last said; nothing if there is no such file."""
    return _read(path, StatusFile, MAX_STATUS) or {}


def read_mark(path: Path) -> MarkFile:
    """The owner's star and note; none if there is no such file."""
    return MarkFile(**(_read(path, MarkFile, MAX_MARK) or {}))


def read_task(path: Path) -> dict[str, Any]:
    """d, layers, classes, label_counts …; nothing before the run has got that far."""
    task = _read(path, TaskFile, MAX_TASK)
    if task is None:
        return {}
    if any(len(row) != len(task["classes"]) for row in task["label_counts"]):
        raise StoreError(f"{path}: label_counts does not fit classes")
    bounds = [0, *(bound for layer in task["layers"] for bound in (layer["start"], layer["stop"]))]
    if bounds != sorted(bounds) or bounds[-1] > task["d"]:
        raise StoreError(f"{path}: layers are not in order within d = {task['d']:,}")
    return task


def _read(path: Path, schema: type[BaseModel], most: int) -> dict[str, Any] | None:
    try:
        data = read_regular(path, most)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        return schema.model_validate_json(data, strict=True).model_dump(exclude_unset=True)
    except ValidationError as error:
        raise StoreError(f"{path} is damaged: {first_fault(error)}") from None
