"""What Flower adds: bytes on the network beside our ledger, seconds beside one process, memory against clients.

    python benchmarks/federation.py                 every measurement, into benchmarks/results/federation.json
    python benchmarks/federation.py --only network  one of: network, engines, crowd
    python benchmarks/federation.py --write         docs/scale.md's tables from that file
    python benchmarks/federation.py --quick         does it run? two clients, one round, nothing written

Every run is `deltamask run`'s or the Flower app's, watched from outside: when its folder gets a record, what its
processes have used of the CPU (those that have ended included), and how much memory is theirs (PSS: shared pages
count once). Bytes are counted by a relay between the SuperNodes and the SuperLink, as they pass, TLS included.
"""

from __future__ import annotations

import functools
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

os.environ["OMP_NUM_THREADS"] = "1"

import psutil
import tyro
from deltamask_flower.loopback import ACTIVATED, HOST, Federation, start_nodes
from scale_tables import write_tables
from timing import RESULTS, store

from deltamask.cli.app import free_port
from deltamask.config import RunConfig
from deltamask.methods import methods
from deltamask.runs import launch
from deltamask.runs.folder import RunFolder, provenance
from deltamask.runs.reader import load_run, read_records
from deltamask.runs.runner import BROADCASTS

ROOT = Path(__file__).resolve().parent.parent
STORED = RESULTS / "federation.json"
TASK = RunConfig(codec="gap", keep_payloads="none")  # the default task, d = 1,009,792, sent exactly
NODES = 3
IDLE = 30.0  # seconds for which the nodes have nothing to do, after a third of that, in which what has begun settles
SMALL = {"clients": 2, "rounds": 1, "train_samples": 100, "test_samples": 50, "probe_epochs": 1}
EVERY = 0.2  # seconds between two looks
HOURS = 2
Part = Literal["network", "engines", "crowd"]


class Relay:
    """Passes TCP on to `port`, and counts bytes: up from the nodes, down to them."""

    def __init__(self, port: int) -> None:
        self.target, self.up, self.down, self.connections = port, 0, 0, 0
        self.listener = socket.create_server((HOST, 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:  # closed
                return
            self.connections += 1
            try:
                far = socket.create_connection((HOST, self.target))
            except OSError:  # the SuperLink has ended before its nodes
                near.close()
                continue
            threading.Thread(target=self._pump, args=(near, far, "up"), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, "down"), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, way: str) -> None:
        try:
            while chunk := source.recv(1 << 16):
                setattr(self, way, getattr(self, way) + len(chunk))
                sink.sendall(chunk)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def close(self) -> None:
        self.listener.close()


@dataclass
class Watch:
    """CPU seconds and memory of processes, by what they belong to."""

    processes: Callable[[], dict[str, list[psutil.Process]]]
    peak_mb: float = 0.0
    _cpu: dict[tuple[str, int, float], float] = field(default_factory=dict)  # by (whose, pid, start): seconds so far

    def look(self) -> None:
        """Take CPU seconds and memory of every process that is there."""
        memory = 0
        for whose, processes in self.processes().items():
            for process in processes:
                try:
                    times = process.cpu_times()
                    self._cpu[whose, process.pid, process.create_time()] = times.user + times.system
                    memory += _pss(process.pid)
                except (psutil.Error, OSError):
                    continue
        self.peak_mb = max(self.peak_mb, memory / 2**20)

    def cpu(self, only: str = "") -> float:
        """CPU seconds of all, or of one's."""
        return sum(seconds for (whose, _, _), seconds in self._cpu.items() if only in ("", whose))


def _parts(federation: Federation) -> dict[str, list[psutil.Process]]:
    """The SuperLink itself, what it has started (SuperExec and ServerApp, or the simulation), and the nodes."""
    members = federation.members()
    pid = federation.processes["superlink"].pid
    under = members.pop("superlink", [])
    return {
        "superlink": [process for process in under if process.pid == pid],
        "server app": [process for process in under if process.pid != pid],
        "nodes": [process for node in members.values() for process in node],
    }


def _pss(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return 1024 * int(line.split()[1])
    return 0


def follow(watch: Watch, out: Path, rounds: int, mark: Callable[[int], None]) -> None:
    """Look until `out` holds all rounds. mark: called when a round's record has come."""
    seen, end = -1, time.monotonic() + HOURS * 3600
    while seen < rounds:
        watch.look()
        for record in read_records(out)[seen + 1 :]:
            seen = record["round"]
            mark(seen)
        if (out / "config.json").exists() and load_run(out).state in ("failed", "killed"):
            raise RuntimeError(f"{out}: {load_run(out).status}")
        if time.monotonic() > end:
            raise TimeoutError(f"{out}: not over after {HOURS} hours")
        time.sleep(EVERY)


@dataclass
class Marks:
    """Clock, CPU and any counters at the end of each round."""

    watch: Watch
    counters: Callable[[], dict[str, float]] = dict
    at: list[dict[str, float]] = field(default_factory=list)

    def __call__(self, round: int) -> None:
        self.at.append({"seconds": time.monotonic(), "cpu": self.watch.cpu(), **self.counters()})

    def per_round(self) -> dict[str, float]:
        """Means over the rounds after the probing round 0, which also loads and warms up."""
        first, last = self.at[0], self.at[-1]
        return {name: (last[name] - first[name]) / (len(self.at) - 1) for name in first}


def in_process(config: RunConfig, folder: Path) -> dict[str, Any]:
    """`deltamask run`, one thread."""
    out = folder / "run"
    process = launch.start(config, out, folder / "log")
    try:
        watch = Watch(lambda: {"run": [psutil.Process(process.pid)]})
        marks = Marks(watch)
        follow(watch, out, config.rounds, marks)
        process.wait(timeout=60)
    finally:
        process.kill()
    return _summary(config, marks, out)


def simulated(config: RunConfig, folder: Path) -> dict[str, Any]:
    """Flower's simulation on Ray, two clients at a time on one thread each."""
    with Federation(folder, simulation=True, environment=_environment()) as federation:
        watch = Watch(lambda: _parts(federation))
        marks = Marks(watch)
        federation.submit(config, folder / "run")
        follow(watch, folder / "run", config.rounds, marks)
    return _summary(config, marks, folder / "run")


def deployed(config: RunConfig, folder: Path, idle: float = IDLE) -> dict[str, Any]:
    """A SuperLink and a SuperNode for each client, through the relay. idle: seconds without a run, before it."""
    with _relayed(folder) as (federation, relay):
        watch = Watch(lambda: _parts(federation))

        def counters() -> dict[str, float]:
            each = {f"cpu {part}": watch.cpu(part) for part in ("superlink", "server app", "nodes")}
            return {"up": relay.up, "down": relay.down, **each}

        alone = _idle(watch, counters, idle)  # the SuperLink has work without any node: it is asked for tasks
        start_nodes(federation, config)
        federation.wait("all nodes are connected", lambda: _activated(federation) == config.clients, 600)
        quiet = _idle(watch, counters, idle)
        marks = Marks(watch, counters)
        federation.submit(config, folder / "run")
        follow(watch, folder / "run", config.rounds, marks)
    return {**_summary(config, marks, folder / "run"), "alone": alone, "idle": {"nodes": config.clients, **quiet}}


def _idle(watch: Watch, counters: Callable[[], dict[str, float]], seconds: float) -> dict[str, float]:
    """What passes and what is spent in so many seconds without a run."""
    marks = Marks(watch, counters)
    time.sleep(seconds / 3)  # whatever has just begun
    watch.look()
    marks(0)
    time.sleep(seconds)
    watch.look()
    marks(1)
    return marks.per_round()


def _activated(federation: Federation) -> int:
    return federation.log("superlink").count(ACTIVATED)


@contextmanager
def _relayed(folder: Path) -> Iterator[tuple[Federation, Relay]]:
    port = free_port()
    relay = Relay(port)
    try:
        with Federation(folder, port=port, relay=relay.port, environment=_environment()) as federation:
            yield federation, relay
    finally:
        relay.close()


def _environment() -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}


def _summary(config: RunConfig, marks: Marks, out: Path) -> dict[str, Any]:
    """Per round: wall and CPU seconds, ledger bytes, stages. In all: peak memory, and a snapshot's size at the end."""
    arrays = RunFolder(out).load_state(load_run(out).config)[1]  # type: ignore[index]
    arrays.pop(BROADCASTS)
    method = methods[config.method]
    assert method.snapshot is not None
    snapshot = method.snapshot(config, method.state(**arrays), config.rounds + 1)
    records = read_records(out)[1:]
    count = len(records)
    stages = {name: sum(record["seconds"][name] for record in records) / count for name in records[0]["seconds"]}
    return {
        "clients": config.clients,
        "clients_per_round": config.clients_per_round,
        "rounds": count,
        "peak_mb": round(marks.watch.peak_mb, 1),
        "per_round": {name: round(value, 4) for name, value in marks.per_round().items()},
        "ledger_up": sum(record["uplink_bytes"] for record in records) / count,
        "ledger_down": sum(record["downlink_bytes"] for record in records) / count,
        "snapshot_bytes": len(snapshot),
        "seconds": {name: round(value, 4) for name, value in stages.items()},
        "accuracy": records[-1]["accuracy"],
    }


def machine() -> dict[str, Any]:
    """What it was measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    versions = {name: version(name) for name in ("flwr", "ray", "torch")}
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        **versions,
    }


def crowd(clients: int) -> RunConfig:
    """The default task with its 10,000 images dealt out to so many clients, all of whom take part in each round."""
    return TASK.replace(
        clients=clients, train_samples=10_000, test_samples=500, min_client_samples=5, rounds=1, probe_epochs=1
    )


Engine = Callable[[RunConfig, Path], dict[str, Any]]
ENGINES: dict[str, Engine] = {"in process": in_process, "Flower on Ray": simulated, "Flower deployed": deployed}
QUICKLY: dict[str, Engine] = {**ENGINES, "Flower deployed": functools.partial(deployed, idle=0.3)}
PLANS: dict[Part, list[tuple[str, RunConfig]]] = {
    "network": [("Flower deployed", TASK.replace(clients=NODES, rounds=5))],
    "engines": [(name, TASK.replace(rounds=3)) for name in ENGINES],
    "crowd": [(name, crowd(n)) for n in (5, 100, 1000) for name in ("in process", "Flower on Ray")],
}


def measure(plan: list[tuple[str, RunConfig]], engines: dict[str, Engine] = ENGINES) -> dict[str, Any]:
    """One part, each engine in fresh processes, one after the other."""
    rows = []
    for name, config in plan:
        with tempfile.TemporaryDirectory(prefix="deltamask-bench-") as folder:
            begin = time.monotonic()
            row = {"engine": name, **engines[name](config, Path(folder))}
            print(f"{name}, {config.clients} clients, {time.monotonic() - begin:.0f} s", row, flush=True)
            rows.append(row)
    return {"config": plan[0][1].model_dump(), "rows": rows, "load_average": os.getloadavg()[1]}


def main(
    only: Part | None = None, write: bool = False, document: Path = ROOT / "docs" / "scale.md", quick: bool = False
) -> None:
    """Measure, or write the document's tables from what was measured.

    Args:
        only: one part.
        write: the document's tables, from what is stored; measure nothing.
        document: where its tables are.
        quick: every engine, with two clients, for one round; nothing is written.
    """
    if quick:
        measure([(name, TASK.replace(**SMALL)) for name in ENGINES], QUICKLY)
        return
    stored: dict[str, Any] = json.loads(STORED.read_text()) if STORED.exists() else {}
    if write:
        write_tables(stored, document)
        return
    for part in PLANS if only is None else (only,):
        stored[part] = {**measure(PLANS[part]), "machine": machine(), **provenance()}
        store(stored, STORED)


if __name__ == "__main__":
    tyro.cli(main)
