"""The reading side of run folders (`folder.py` says what they hold): their figures, and the list of them.

Needs no torch.
"""

from __future__ import annotations

import html
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deltamask.base.paths import recorded_dir, runs_dir, sweeps_dir
from deltamask.config import RunConfig
from deltamask.config.run_config import UNPRINTABLE
from deltamask.runs import StoreError, figures, jsonl, payloads
from deltamask.runs.payloads import Payload
from deltamask.runs.status import ACTIVE, is_alive
from deltamask.runs.stored import MARK, MarkFile, read_config, read_mark, read_status, read_task

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Run:
    """The reading side: a run folder at one moment."""

    path: Path
    config: RunConfig
    provenance: dict[str, Any]
    status: dict[str, Any]

    def __repr__(self) -> str:
        return f"<Run {self.id}: {self._about}>"

    def _repr_html_(self) -> str:
        """In a notebook: name, state, and its headline figures."""
        figures = ", ".join(f"{name} {value:.4g}" for name, value in self.summary().items() if value is not None)
        return f"<b>{html.escape(self.id)}</b>: {html.escape(self._about)}<br>{html.escape(figures)}"

    @property
    def _about(self) -> str:
        return f"{self.state}, {max(0, len(self.records) - 1)} of {self.config.rounds} rounds"

    @property
    def id(self) -> str:
        """What `load_run` finds it by: its folder's name, and of a sweep's run its experiment's before it."""
        place = self.path.absolute()
        return f"{place.parent.name}/{place.name}" if place.parent.parent == sweeps_dir().absolute() else place.name

    @property
    def state(self) -> str:
        """starting, running, paused, stopped, finished, failed, or killed (its process is gone without a word)."""
        state = str(self.status.get("state", "stopped"))
        if state not in ACTIVE or is_alive(self.path, self.status):
            return state
        now = str(read_status(self.path / "status.json").get("state", state))  # it may have ended since
        return "killed" if now in ACTIVE else now

    @property
    def uploaded(self) -> bool:
        """Did it come as a zip? Then its figures are what somebody else says."""
        return bool(self.status.get("uploaded"))

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """The records, in the order of the rounds; read when first asked for."""
        return read_records(self.path)

    @cached_property
    def task(self) -> dict[str, Any]:
        """d, layers, classes, label_counts; empty before the run has got that far."""
        return read_task(self.path / "task.json")

    @cached_property
    def mark(self) -> MarkFile:
        """Its owner's star and note."""
        return read_mark(self.path / MARK)

    @property
    def changes(self) -> list[str]:
        """What its results rest on that was not the same from beginning to end, one line each; empty as a rule."""
        return list(self.task.get("changes", []))

    @cached_property
    def rounds(self) -> pd.DataFrame:
        """One row a round, without the lists of clients; its columns are explained at `figures.rounds_table`."""
        return figures.rounds_table(self.records)

    @cached_property
    def clients(self) -> pd.DataFrame:
        """One row for each client and round."""
        import pandas as pd

        return pd.DataFrame([{"round": r["round"], **client} for r in self.records for client in r["clients"]])

    def payloads(self, round: int | None = None) -> list[Payload]:
        """Kept payloads, by round and client. StoreError if they are packed, and the pack is damaged."""
        return payloads.uplink(self.path, round)

    def summary(self) -> dict[str, Any]:
        """The run's headline figures, over the rounds after the head's round 0; None for those there are not yet.

        accuracy: mean of the last ten. worst_client: the same of the lowest accuracy for a client, of all N.
        bpp_up, bpp_down, bpp_total: mean. With `_total` behind it: everything sent, round 0 included; likewise the
        bytes, over all clients.
        """
        return figures.summary(self.rounds)


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a run folder. A torn last line is ignored; StoreError for any other that is no record.

    They are shared: do not change them.
    """
    return jsonl.read_records(path / "rounds.jsonl")


def load_run(run: str | Path) -> Run:
    """Read a run by path, or by id from `runs/`, the sweeps' (`EXPERIMENT/ARM-sSEED`) and the recorded runs.

    StoreError says what was looked for, or which of the folder's files is damaged.
    """
    return _load(find_run(run))


_loaded: OrderedDict[Path, tuple[tuple[Any, ...], Run | str]] = OrderedDict()  # as it was read, or what is wrong
_LOADED_MOST = 512
_loading = threading.Lock()


def _load(path: Path) -> Run:
    """The run in a folder; the very same object while its files stay as they are, so that asking again is cheap."""
    signature = tuple(
        _signature(path / name) for name in ("config.json", "status.json", "task.json", "rounds.jsonl", MARK)
    )
    key = path.absolute()
    with _loading:
        before, run = _loaded.pop(key, (None, ""))
        if before != signature or (isinstance(run, Run) and run.path != path):
            try:
                run = read_folder(path)
            except StoreError as error:
                run = str(error)
        _loaded[key] = (signature, run)
        if len(_loaded) > _LOADED_MOST:
            _loaded.popitem(last=False)
    if isinstance(run, str):
        raise StoreError(run)
    return run


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def read_folder(path: Path) -> Run:
    """Read all files of a run but its payloads, so that what is damaged is said now and not in the middle of a page."""
    if UNPRINTABLE.search(path.name):
        raise StoreError(f"{path.name!r} is no name of a run")
    config, origin = read_config(path / "config.json")
    run = Run(path, config, origin, read_status(path / "status.json"))
    _ = run.mark  # read now
    if run.task and len(run.task["label_counts"]) > config.clients:
        raise StoreError(f"{path / 'task.json'}: more than {config.clients} clients, as many as the config has")
    for record in run.records:
        if record["round"] > config.rounds:
            raise StoreError(f"{path / 'rounds.jsonl'}: more than {config.rounds} rounds, as many as the config has")
        if any(client["client"] >= config.clients for client in record["clients"]):
            raise StoreError(f"{path / 'rounds.jsonl'}: round {record['round']}: a client that is not in the config")
        for name in ("client_accuracy", "client_accuracy_adapted", "alone"):
            if record[name] is not None and len(record[name]) != config.clients:
                raise StoreError(
                    f"{path / 'rounds.jsonl'}: round {record['round']}: {name} is not of the config's {config.clients} "
                    "clients"
                )
    return run


def find_run(run: str | Path) -> Path:
    """The folder of a run given by path or id. StoreError if there is none."""
    places = [Path(run), runs_dir() / run, sweeps_dir() / run, recorded_dir() / run]
    for place in places:
        with suppress(ValueError):  # a NUL, which no path has
            if (place / "config.json").exists():
                return place
    raise StoreError(
        f"no run {str(run)!r}; looked in {', '.join(str(place) for place in places)}; `deltamask runs` lists them"
    )


@dataclass(frozen=True)
class Broken:
    """A folder with a config that cannot be read as a run, and why."""

    path: Path
    reason: str

    @property
    def name(self) -> str:
        """The folder's name, fit to be shown."""
        return UNPRINTABLE.sub("?", self.path.name)

    @property
    def place(self) -> str:
        """Where it lies, likewise."""
        return UNPRINTABLE.sub("?", str(self.path))


def list_runs(*roots: Path) -> list[Run]:
    """All runs below `roots` that can be read, newest first; by default your own, those of sweeps, and the recorded."""
    runs = [entry for entry in _scan(roots) if isinstance(entry, Run)]
    return sorted(runs, key=lambda run: str(run.provenance.get("created", "")), reverse=True)


def starred_first(runs: Sequence[Run]) -> list[Run]:
    """Those with a star before the others, either in their order."""
    return sorted(runs, key=lambda run: not run.mark.star)


def list_broken(*roots: Path) -> list[Broken]:
    """The folders that `list_runs` leaves out, by name."""
    return sorted((entry for entry in _scan(roots) if isinstance(entry, Broken)), key=lambda entry: entry.name)


def _experiments() -> list[Path]:
    """The folders in which sweeps have put their runs."""
    return sorted(folder for folder in sweeps_dir().glob("*") if folder.is_dir() and not folder.is_symlink())


def _scan(roots: Sequence[Path]) -> Iterator[Run | Broken]:
    """One damaged folder must not hide the others."""
    for root in roots or (runs_dir(), *_experiments(), recorded_dir()):
        for config in sorted(root.glob("*/config.json")):
            if config.parent.name.startswith("."):
                continue  # an upload that is being checked
            try:
                yield _load(config.parent)
            except StoreError as error:
                yield Broken(config.parent, str(error))
