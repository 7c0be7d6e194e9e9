"""A federation on this machine: one SuperLink and a SuperNode for each client, with TLS and SuperNode authentication.

    make federation      or      python scripts/federation.py --out runs/federation

Plays five rounds of the `quick` preset with three clients, each with its own data on disk, into a run folder that the
dashboard can watch; then plays the same config in this process and compares what crossed the wire, byte by byte.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # as the nodes: the order of sums, and so a mask's last bits, depends on it

import torch
import tyro
from deltamask_flower.loopback import Federation, FederationError, start_nodes

from deltamask.config import RunConfig
from deltamask.config.presets import preset
from deltamask.runs import payloads
from deltamask.runs.folder import new_folder
from deltamask.runs.reader import Run, load_run
from deltamask.simulation.loop import Observer, simulate

CONFIG = preset("quick").replace(clients=3, rounds=5)
MINUTES = 30


class Kept(Observer):
    """Keeps payloads and broadcasts, under the names that a run folder gives them."""

    def __init__(self) -> None:
        self.messages: dict[str, bytes] = {}

    def broadcast(self, round: int, message: bytes) -> None:
        if round:
            self.messages[f"r{round:04d}-down.bin"] = message

    def payload(self, round: int, client: int, order: int, suffix: str, payload: bytes) -> None:
        self.messages[f"r{round:04d}-c{client:02d}{suffix}"] = payload


def main(out: Path | None = None, home: Path | None = None, rounds: int = 5, clients: int = 3) -> int:
    """Start everything, run, compare.

    Args:
        out: The run folder; by default a new one below runs/.
        home: Where certificates, keys, the nodes' data and the logs go, to be looked at; by default nowhere that stays.
        rounds: Rounds after the head's probing round.
        clients: Clients, each with a SuperNode of its own.
    """
    config = CONFIG.replace(rounds=rounds, clients=clients)
    out = out or new_folder(config)
    folder = home or Path(tempfile.mkdtemp(prefix="deltamask-federation-"))
    try:
        run = deploy(config, out.resolve(), folder.resolve())
    except FederationError as error:
        print(f"federation: {error}", file=sys.stderr)
        return 1
    finally:
        if home is None:
            shutil.rmtree(folder, ignore_errors=True)
    if run.state != "finished":
        print(f"federation: the run {run.state}: {run.status.get('message')}", file=sys.stderr)
        return 1
    return compare(config, run)


def deploy(config: RunConfig, out: Path, home: Path) -> Run:
    """The run on nodes."""
    with Federation(home, show=print) as federation:
        start_nodes(federation, config)
        federation.submit(config, out)
        seen = -1

        def over() -> bool:
            nonlocal seen
            if not (out / "config.json").exists():
                return False
            run = load_run(out)
            for record in run.records[seen + 1 :]:
                print(
                    f"round {record['round']:2d}/{config.rounds}  accuracy {record['accuracy']:.4f}  "
                    f"uplink {record['bpp_up']:.4f} bpp  downlink {record['bpp_down']:.4f} bpp",
                    flush=True,
                )
                seen = record["round"]
            return run.state in ("finished", "failed", "stopped")

        print(f"writing {out}", flush=True)
        federation.wait("the run is over", over, 60 * MINUTES)
        return load_run(out)


def compare(config: RunConfig, run: Run) -> int:
    """Play the config here, and compare every message of the folder with ours. The exit status."""
    torch.set_num_threads(1)
    kept = Kept()
    records = list(simulate(config, observer=kept))
    stored = {name: message.read() for name, message in payloads.messages(run.path).items()}
    different = sorted(name for name in kept.messages | stored if kept.messages.get(name) != stored.get(name))
    same = [record["accuracy"] for record in run.records] == [record.accuracy for record in records]
    size = sum(map(len, stored.values()))
    print(
        f"in this process: {len(stored) - len(different)} of {len(stored)} messages ({size:,} bytes) are the same, "
        f"accuracies {'are the same' if same else 'differ'}"
        + (f"; different: {', '.join(different)}" if different else "")
    )
    return 1 if different or not same else 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
