"""The reading side of run folders (`folder.py` says what they hold): their figures, and the list of them.

Needs no torch.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from deltamask.base.paths import recorded_dir, runs_dir
from deltamask.config import RunConfig, explain_errors
from deltamask.runs import StoreError, jsonl
from deltamask.runs.status import ACTIVE, is_alive, read_json

PAYLOAD_NAME = re.compile(r"r(\d{4,})-c(\d{2,})\.(png|bin)")


@dataclass(frozen=True)
class Payload:
    """A kept uplink message."""

    round: int
    client: int
    path: Path


@dataclass(frozen=True)
class Run:
    """The reading side: a run folder at one moment."""

    path: Path
    config: RunConfig
    provenance: dict[str, Any]
    status: dict[str, Any]

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def state(self) -> str:
        """starting, running, paused, stopped, finished, failed, or killed (its process is gone without a word)."""
        state = str(self.status.get("state", "stopped"))
        return "killed" if state in ACTIVE and not is_alive(self.status) else state

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """The records, in the order of the rounds; read when first asked for."""
        return read_records(self.path)

    @cached_property
    def task(self) -> dict[str, Any]:
        """d, layers, classes, label_counts; empty before the run has got that far."""
        return read_json(self.path / "task.json") or {}

    @cached_property
    def rounds(self) -> pd.DataFrame:
        """One row a round, without the lists of clients.

        bpp_up, bpp_down, bpp_total (both together): bits per parameter and client of the round. With `_total` behind
        it: summed over the rounds, round 0 included; with `_mean`: their mean over the rounds after 0 (NaN in round 0).
        """
        frame = pd.DataFrame([{k: v for k, v in record.items() if k != "clients"} for record in self.records])
        if len(frame):
            frame["bpp_total"] = frame["bpp_up"] + frame["bpp_down"]
            for name in ("bpp_up", "bpp_down", "bpp_total"):
                frame[f"{name}_total"] = frame[name].cumsum()
                frame[f"{name}_mean"] = frame[name].where(frame["round"] > 0).expanding().mean()
        return frame

    @cached_property
    def clients(self) -> pd.DataFrame:
        """One row for each client and round."""
        return pd.DataFrame([{"round": r["round"], **client} for r in self.records for client in r["clients"]])

    def payloads(self, round: int | None = None) -> list[Payload]:
        """Kept payloads, by round and client."""
        pattern = "*" if round is None else f"r{round:04d}-*"
        found = [(PAYLOAD_NAME.fullmatch(path.name), path) for path in (self.path / "payloads").glob(pattern)]
        return sorted(
            (Payload(int(match[1]), int(match[2]), path) for match, path in found if match),
            key=lambda payload: (payload.round, payload.client),
        )

    def summary(self) -> dict[str, Any]:
        """The run's headline figures, over the rounds after the probing round 0.

        accuracy: mean of the last ten. worst_client: mean over the same rounds of the lowest accuracy for a client.
        bpp_up, bpp_down, bpp_total: mean. With `_total` behind it: everything sent, round 0 included; likewise the
        bytes, over all clients. Figures that there are not yet are None.
        """
        rounds, ways = self.rounds, ("bpp_up", "bpp_down", "bpp_total")
        if not len(rounds):
            none = ("accuracy", "worst_client", *ways, *(f"{way}_total" for way in ways))
            return {"rounds": 0, **dict.fromkeys(none), "uplink_bytes": 0, "downlink_bytes": 0}
        after = rounds[rounds["round"] > 0]
        last_ten = (self.records[1:] or self.records)[-10:]
        worst = [min(client["accuracy"] for client in record["clients"]) for record in last_ten if record["clients"]]
        return {
            "rounds": int(rounds["round"].max()),
            "accuracy": float((after if len(after) else rounds)["accuracy"].tail(10).mean()),
            "worst_client": float(np.mean(worst)) if worst else None,
            **{way: float(after[way].mean()) if len(after) else None for way in ways},
            **{f"{way}_total": float(rounds[f"{way}_total"].iloc[-1]) for way in ways},
            "uplink_bytes": int(rounds["uplink_bytes"].sum()),
            "downlink_bytes": int(rounds["downlink_bytes"].sum()),
        }


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a run folder, up to the first line that is torn. They are shared: do not change them."""
    return jsonl.read_records(path / "rounds.jsonl")


def load_run(run: str | Path) -> Run:
    """Read a run by path, or by id from `runs/` and the recorded runs. StoreError says what was looked for."""
    return _load(find_run(run))


_loaded: OrderedDict[Path, tuple[tuple[Any, ...], Run]] = OrderedDict()  # what was read, for as long as it is true
_LOADED_MOST = 512
_loading = threading.Lock()


def _load(path: Path) -> Run:
    """The run in a folder; the very same object while its files stay as they are, so that asking again is cheap."""
    signature = tuple(_signature(path / name) for name in ("config.json", "status.json", "task.json", "rounds.jsonl"))
    key = path.absolute()
    with _loading:
        known, run = _loaded.pop(key, (None, None))
        if run is None or known != signature or run.path != path:
            run = _read(path)
        _loaded[key] = (signature, run)
        if len(_loaded) > _LOADED_MOST:
            _loaded.popitem(last=False)
    return run


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _read(path: Path) -> Run:
    stored = read_json(path / "config.json")
    try:
        config = RunConfig(**stored["config"])
    except (TypeError, KeyError):
        raise StoreError(f"{path / 'config.json'} is missing or damaged: not a run folder") from None
    except ValidationError as error:
        raise StoreError(f"{path / 'config.json'}: " + "; ".join(explain_errors(error))) from error
    origin = {key: value for key, value in stored.items() if key != "config"}
    return Run(path, config, origin, read_json(path / "status.json") or {})


def find_run(run: str | Path) -> Path:
    """The folder of a run given by path or id. StoreError if there is none."""
    places = [Path(run), runs_dir() / run, recorded_dir() / run]
    for place in places:
        if (place / "config.json").is_file():
            return place
    raise StoreError(
        f"no run {str(run)!r}; looked in {', '.join(str(place) for place in places)}; `deltamask runs` lists them"
    )


def list_runs(*roots: Path) -> list[Run]:
    """All readable runs below `roots` (by default `runs/` and the recorded ones), newest first."""
    runs = []
    for root in roots or (runs_dir(), recorded_dir()):
        for config in sorted(root.glob("*/config.json")):
            if config.parent.name.startswith("."):
                continue  # an upload that is being checked
            try:
                runs.append(load_run(config.parent))
            except StoreError:
                continue  # one damaged folder must not hide the others; `deltamask show` names the fault
    return sorted(runs, key=lambda run: str(run.provenance.get("created", "")), reverse=True)
