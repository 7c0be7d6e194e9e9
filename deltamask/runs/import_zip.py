"""A run folder that came as a zip, perhaps from a stranger: checked entry by entry, then put beside the other runs.

Nothing is written before everything has been checked, nothing is written outside the new folder, and every file's
name is one that we ourselves give to files of a run.
"""

from __future__ import annotations

import json
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, BinaryIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from deltamask.config import RunConfig, explain_errors
from deltamask.runs.folder import write_json
from deltamask.runs.status import ACTIVE

MAX_ENTRIES = 20_000
MAX_BYTES = 400_000_000  # of all files together, inflated
MAX_JSON = 50_000_000  # of one JSON file, inflated
CHUNK = 1 << 20
NAMES = re.compile(
    r"config\.json|task\.json|status\.json|rounds\.jsonl|payloads/r\d{4,7}-(c\d{2,7}\.(png|bin|flips)|down\.bin)"
)
IGNORED = re.compile(r"run\.log|run\.lock|control|state\.safetensors|\.DS_Store|__MACOSX.*")
FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


class UnpackError(ValueError):
    """The zip is not a run folder that can be trusted; the message says why."""


Figure = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]


class _Loose(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Client(_Loose):
    client: Count
    samples: Count
    accuracy: Figure
    uplink_bytes: Count
    flips: Count | None = None
    kept: Count | None = None
    false_flips: Count | None = None
    dropped: Annotated[str, Field(max_length=2000)] | None = None


class _Record(_Loose):
    """The fields of a record that pages compute with."""

    round: Count
    accuracy: Figure
    loss: Figure | None
    uplink_bytes: Count
    downlink_bytes: Count
    bpp_up: Figure
    bpp_down: Figure
    flips: Figure | None = None
    kept: Figure | None = None
    false_flips: Figure | None = None
    entropy_iid: Figure | None = None
    entropy_side: Figure | None = None
    kept_by_layer: dict[str, Count] | None = None
    theta_histogram: list[Count] | None = None
    clients: Annotated[list[_Client], Field(max_length=100_000)]
    seconds: dict[str, Figure]


class _Layer(_Loose):
    name: Annotated[str, Field(max_length=200)]
    start: Count
    stop: Count


class _Task(_Loose):
    d: Annotated[int, Field(ge=1)]
    layers: Annotated[list[_Layer], Field(max_length=10_000)]
    classes: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=10_000)]
    label_counts: Annotated[list[list[Count]], Field(max_length=100_000)]

    @model_validator(mode="after")
    def _rectangular(self) -> _Task:
        if any(len(row) != len(self.classes) for row in self.label_counts):
            raise ValueError("label_counts does not fit classes")
        return self


def unpack_run(file: BinaryIO, root: Path) -> Path:
    """Check a zip and put its run under `root`, in a fresh folder; returns the folder. UnpackError says what is wrong.

    The new name is the zip's own folder name where that is a plain one, else `uploaded`, with a number where it is
    taken.
    """
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".upload-") as place:
        try:
            with zipfile.ZipFile(file) as archive:
                folder, members = _members(archive)
                _extract(archive, members, Path(place))
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OverflowError) as error:
            raise UnpackError(f"not a zip that can be read: {error}") from error
        _check(Path(place))
        return _settle(Path(place), root, folder)


def _members(archive: zipfile.ZipFile) -> tuple[str, dict[str, zipfile.ZipInfo]]:
    """(the folder's name, files by their name inside it), after every entry has been looked at."""
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise UnpackError(f"{len(entries):,} entries, at most {MAX_ENTRIES:,} are taken")
    files = [entry for entry in entries if not entry.is_dir()]
    configs = [entry.filename for entry in files if PurePosixPath(entry.filename).name == "config.json"]
    if len(configs) != 1 or configs[0].count("/") > 1:
        raise UnpackError("a run's zip holds one config.json, at the top or in one folder")
    prefix = configs[0].removesuffix("config.json")
    members: dict[str, zipfile.ZipInfo] = {}
    for entry in files:
        name = entry.filename
        _check_entry(entry)
        if IGNORED.fullmatch(name) or IGNORED.fullmatch(name.removeprefix(prefix)):
            continue
        inner = name.removeprefix(prefix)
        if not name.startswith(prefix) or not NAMES.fullmatch(inner):
            raise UnpackError(f"{_shown(name)} is no file of a run")
        if inner in members:
            raise UnpackError(f"{_shown(name)} is there twice")
        members[inner] = entry
    total = sum(entry.file_size for entry in members.values())
    if total > MAX_BYTES:
        raise UnpackError(f"{total / 1e6:,.0f} MB when inflated, at most {MAX_BYTES / 1e6:,.0f} MB are taken")
    return prefix.rstrip("/"), members


def _check_entry(entry: zipfile.ZipInfo) -> None:
    """Refuse links, devices, encryption, odd compression, and names that lead anywhere else."""
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise UnpackError(f"{_shown(entry.filename)} is a link or a special file")
    if entry.flag_bits & 0x1:
        raise UnpackError(f"{_shown(entry.filename)} is encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UnpackError(f"{_shown(entry.filename)} is compressed in an unusual way")
    path = PurePosixPath(entry.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in entry.filename or ":" in entry.filename:
        raise UnpackError(f"{_shown(entry.filename)} leads out of the folder")


def _extract(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], place: Path) -> None:
    """Inflate, counting what really comes out: the sizes in a zip's directory are only claims."""
    total = 0
    (place / "payloads").mkdir()
    for name, entry in members.items():
        size, most = 0, MAX_JSON if name.endswith((".json", ".jsonl")) else MAX_BYTES
        with archive.open(entry) as source, open(place / name, "xb") as target:
            while chunk := source.read(CHUNK):
                size += len(chunk)
                total += len(chunk)
                if size > most or total > MAX_BYTES:
                    raise UnpackError(f"{_shown(name)} is larger than a run's files can be")
                target.write(chunk)


def _check(place: Path) -> None:
    """Are the files what their names say? The status is rewritten: a process of another machine is not here."""
    stored = _json(place / "config.json")
    if not isinstance(stored, dict) or not isinstance(stored.get("config"), dict):
        raise UnpackError("config.json holds no config")
    try:
        config = RunConfig(**stored["config"])
    except (ValidationError, TypeError) as error:
        faults = explain_errors(error) if isinstance(error, ValidationError) else [str(error)]
        raise UnpackError("config.json: " + "; ".join(faults)[:500]) from error
    origin = {name: value for name, value in stored.items() if name in ("deltamask", "git_revision", "created")}
    if not all(value is None or (isinstance(value, str) and len(value) < 100) for value in origin.values()):
        raise UnpackError("config.json: deltamask, git_revision and created are short texts")
    write_json(place / "config.json", {"config": config.model_dump(), **origin})
    try:
        if (place / "task.json").exists():
            _Task.model_validate(_json(place / "task.json"))
        last = -1
        for record in _records(place / "rounds.jsonl"):
            if record.round != last + 1 or record.round > config.rounds:
                raise UnpackError(f"rounds.jsonl: round {record.round} follows round {last}")
            last = record.round
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise UnpackError(f"{error.title.strip('_').lower()}: {_shown(where)}: {fault['msg']}") from error
    told = _json(place / "status.json") if (place / "status.json").exists() else {}
    state = told.get("state") if isinstance(told, dict) else None
    if state not in ("finished", "failed"):
        state = "stopped"  # also one that was under way when it was zipped
    if state == "finished" and last < config.rounds:
        raise UnpackError(f"status.json says finished, but the records end at round {last} of {config.rounds}")
    assert state not in ACTIVE
    message = str(told.get("message", ""))[:500] if isinstance(told, dict) else ""
    write_json(place / "status.json", {"state": state, "message": message, "round": last, "uploaded": True})


def _json(path: Path) -> Any:
    try:
        return _parsed(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UnpackError(f"{path.name} is no JSON") from error


def _parsed(data: bytes) -> Any:
    """JSON without Python's own NaN and Infinity."""
    return json.loads(data, parse_constant=lambda word: float("not JSON: " + word))


def _records(path: Path) -> Iterator[_Record]:
    if not path.exists():
        return
    with open(path, "rb") as file:
        for line in file:
            try:
                value = _parsed(line)
            except (ValueError, RecursionError) as error:
                raise UnpackError("rounds.jsonl: a line is no JSON") from error
            yield _Record.model_validate(value)


def _settle(place: Path, root: Path, folder: str) -> Path:
    """Move the checked files to a name that is free."""
    base = folder if FOLDER.fullmatch(folder) else "uploaded"
    for number in range(1, 10_000):
        target = root / (base if number == 1 else f"{base}-{number}")
        try:
            target.mkdir()
        except FileExistsError:
            continue
        for entry in sorted(place.iterdir(), key=lambda path: path.name == "config.json"):
            shutil.move(str(entry), target / entry.name)  # the config last: it makes a folder a run
        return target
    raise UnpackError(f"there are 9,999 runs called {base} already")


def _shown(name: str) -> str:
    """A name out of a stranger's zip, fit for a message."""
    return repr(name[:100])
