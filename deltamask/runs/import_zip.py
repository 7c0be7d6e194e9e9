"""A run folder that came as a zip, perhaps from a stranger: checked entry by entry, then put beside the other runs.

Nothing is written before everything has been checked, nothing is written outside the new folder, and every file's
name is one that we ourselves give to files of a run.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import time
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from deltamask.runs import StoreError, jsonl, payloads
from deltamask.runs.folder import free_name, write_json
from deltamask.runs.reader import Run, read_folder
from deltamask.runs.stored import read_config, read_status

MAX_ENTRIES = 20_000
MAX_BYTES = 400_000_000  # of all files together, inflated
MAX_JSON = 50_000_000  # of one JSON file, inflated
MAX_SHOWN = 500  # characters of its message
CHUNK = 1 << 20
SLACK = 1e-6  # of a sum of fractions, relatively
UPLOAD = ".upload-"  # how the folder begins in which an upload is checked
STALE = 3600  # seconds that checking one cannot take
NAMES = re.compile(
    rf"config\.json|task\.json|status\.json|rounds\.jsonl|payloads\.zip|payloads/(?:{payloads.NAME.pattern})"
)
IGNORED = re.compile(r"mark\.json|run\.log|run\.lock|control|state\.safetensors|\.DS_Store|__MACOSX.*")
FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


class UnpackError(ValueError):
    """The zip is not a run folder that can be trusted; the message says why."""


def unpack_run(file: BinaryIO, root: Path) -> Path:
    """Check a zip and put its run under `root`, in a fresh folder; returns the folder. UnpackError says what is wrong.

    The new name is the zip's own folder name where that is a plain one, else `uploaded`, with a number where it is
    taken, by another run or by a recorded one. Its status says that it was uploaded.
    """
    root.mkdir(parents=True, exist_ok=True)
    _sweep(root)
    with tempfile.TemporaryDirectory(dir=root, prefix=UPLOAD) as place:
        try:
            with zipfile.ZipFile(file) as archive:
                folder, members = _members(archive)
                _extract(archive, members, Path(place))
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OverflowError) as error:
            raise UnpackError(f"not a zip that can be read: {error}") from error
        _check(Path(place))
        return _settle(Path(place), root, folder)


def _sweep(root: Path) -> None:
    """Remove what uploads left behind whose process was killed."""
    for place in root.glob(f"{UPLOAD}*"):
        if time.time() - place.lstat().st_mtime > STALE:
            shutil.rmtree(place, ignore_errors=True)


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
    try:
        config, origin = read_config(place / "config.json")
        write_json(place / "config.json", {"config": config.model_dump(), **origin})
        status = read_status(place / "status.json")
        run = read_folder(place)
        payloads.messages(place)
    except StoreError as error:
        raise UnpackError(str(error).replace(f"{place}{os.sep}", "")) from None
    if (place / "rounds.jsonl").exists() and jsonl.has_torn_end(place / "rounds.jsonl"):
        raise UnpackError("rounds.jsonl: its last line is torn")
    _check_sums(run)
    last = len(run.records) - 1
    state = status.get("state")
    if state not in ("finished", "failed"):
        state = "stopped"  # also one that was under way when it was zipped
    if state == "finished" and last < config.rounds:
        raise UnpackError(f"status.json says finished, but the records end at round {last} of {config.rounds}")
    message = status.get("message", "")[:MAX_SHOWN]
    write_json(place / "status.json", {"state": state, "message": message, "round": last, "uploaded": True})


def _check_sums(run: Run) -> None:
    """Do the figures of each round agree with each other? What does not cannot have been measured."""
    d = run.task.get("d")
    for record in run.records:
        where = f"rounds.jsonl: round {record['round']}"
        by_clients = sum(client["uplink_bytes"] for client in record["clients"])
        if by_clients != record["uplink_bytes"]:
            raise UnpackError(
                f"{where}: uplink_bytes is {record['uplink_bytes']:,}, but its clients sent {by_clients:,}"
            )
        for way in ("up", "down"):
            sent, bpp = record[f"{way}link_bytes"], record[f"bpp_{way}"]
            messages = 8 * sent / (d * bpp) if d and bpp > 0 else 0.0
            whole = abs(messages - round(messages)) <= SLACK * max(1.0, messages)
            if bool(sent) != (bpp > 0) or (d and not (whole and messages <= run.config.clients + 0.5)):
                raise UnpackError(
                    f"{where}: bpp_{way} is {bpp:g}, which {sent:,} bytes over d = {d} weights are for no number of "
                    "clients"
                )  # fmt: skip


def _settle(place: Path, root: Path, folder: str) -> Path:
    """Move the checked files to a name that is free."""
    base = folder if FOLDER.fullmatch(folder) else "uploaded"
    while True:
        target = free_name(root, base)
        try:
            target.mkdir()
        except FileExistsError:  # another upload was quicker
            continue
        for entry in sorted(place.iterdir(), key=lambda path: path.name == "config.json"):
            shutil.move(str(entry), target / entry.name)  # the config last: it makes a folder a run
        return target


def _shown(name: str) -> str:
    """A name out of a stranger's zip, fit for a message."""
    return repr(name[:100])
