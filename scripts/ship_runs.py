"""Copy runs of the study to where the dashboard finds recorded runs: `make record`, or after the sweeps,

    python scripts/ship_runs.py [--runs runs/sweeps]
    python scripts/ship_runs.py --again    # the recorded runs themselves, by the rules below
    python scripts/ship_runs.py --list     # what is there, as the table of data/README.md

Every run comes with its records. KEPT says whose messages come along, packed into one file a run; what the client only
knew of its payload is cut down to what the payload does not say (`client_flips.pack_beside`).
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deltamask import downlink
from deltamask.base.paths import recorded_dir, runs_dir
from deltamask.codecs import CodecContext
from deltamask.inspection.recorded_payload import carries_flips, flips_of, layers_of
from deltamask.inspection.replay import memories
from deltamask.masking.masks import Theta
from deltamask.runs import client_flips, payloads
from deltamask.runs.payloads import SIDE_SUFFIX, Payload
from deltamask.runs.reader import Run, load_run
from deltamask.studies.experiments import read_experiment

FILES = ("config.json", "task.json", "rounds.jsonl", "status.json")
# Arms of these experiments (none: all) and seeds are shipped, under their own names with the prefix; these of `options`
# beside them. What more were run is in the tables of data/results.
SHIPPED: dict[str, tuple[str, tuple[str, ...], tuple[int, ...]]] = {
    "headline": (
        "fashion",
        ("recipe", "recipe-all", "paper", "fedpm", "deepreduce", "finetune", "eden", "lora-eden4", "probe"),
        (0, 1, 2),
    ),
    "noniid-exact": ("noniid", (), (0, 1, 2)),
    "transformer": ("vit", ("recipe", "finetune", "fedpm"), (0,)),
}
OPTIONS = {
    "deltamask-per_client-beta-bfuse8": "fashion",
    "deltamask-per_client-beta-gap": "fashion-gap",
    "deltamask-per_client-unbiased-bfuse8": "fashion-unbiased",
}


@dataclass(frozen=True)
class Kept:
    """Which of a run's kept messages are shipped."""

    clients: int = 2  # of each round: as many as keep_payloads = few keeps
    one_round_in: int = 1  # and rounds 0 and the last
    broadcasts: bool = True  # all or none: θ_g is rebuilt from all that came before


KEPT = {
    "fashion": Kept(),
    "fashion-gap": Kept(clients=1),
    "fashion-paper": Kept(clients=1),
    "fashion-recipe": Kept(),
    "fashion-recipe-all": Kept(clients=1),
    "fashion-deepreduce": Kept(clients=1),
    "fashion-fedpm": Kept(clients=1, one_round_in=8, broadcasts=False),  # 76 kB a message
    "noniid-recipe": Kept(clients=1),  # whose share of the head takes a megabyte
    "fashion-unbiased": Kept(clients=1, one_round_in=16, broadcasts=False),  # 40 kB a message, 70 kB a broadcast
}


def ship(source: Path, target: Path) -> None:
    """One finished run. source and target may be the same folder."""
    run = load_run(source)
    if run.state != "finished":
        raise SystemExit(f"{source} is {run.state}: finish it first")
    messages = dict(shipped(run, KEPT[target.name])) if target.name in KEPT else {}
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".shipped-") as place:
        for name in FILES:
            shutil.copy(source / name, Path(place, name))
        if messages:
            payloads.write_pack(Path(place, payloads.PACK), messages)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        for file in Path(place).iterdir():
            file.chmod(0o644)
            file.rename(target / file.name)


def shipped(run: Run, kept: Kept) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of the messages to ship."""
    rounds = {0, run.config.rounds, *range(1, run.config.rounds, kept.one_round_in)}
    heard = memories(run) if kept.broadcasts else None
    theta = np.zeros(run.task["d"], np.uint16)  # enough for codecs that read nothing but d from it
    for round in range(run.config.rounds + 1):
        if heard is not None and round > 0:
            theta = next(heard).theta
            message = payloads.broadcast(run.path, round)
            assert message is not None
            yield f"r{round:04d}-down.bin", message
        for payload in run.payloads(round)[: kept.clients] if round in rounds else ():
            yield payload.name, payload.read()
            if carries_flips(run.config, round):
                yield Path(payload.name).with_suffix(SIDE_SUFFIX).name, side_file(run, payload, theta)


def side_file(run: Run, payload: Payload, theta: Theta) -> bytes:
    """What only the client knew of its payload, without what the payload says. theta: (d,) θ_g of that round."""
    round, client = payload.round, payload.client
    bounds = (*(layer.start for layer in layers_of(run)), len(theta))
    context = CodecContext(round, client, theta, downlink.noise(run.config, round, client), bounds)
    flips = flips_of(run, payload, payload.read(), context)
    if flips.delta is None or flips.sent is None:
        raise SystemExit(f"{run.path}: what client {client} knew in round {round} cannot be read")
    return client_flips.pack_beside(flips.decoded, flips.delta, flips.sent, len(theta), round, client)


def table(root: Path) -> str:
    """What is recorded below `root`, as a Markdown table."""
    lines = [
        "| run | made by | rounds with payloads | payloads | broadcasts | bytes |",
        "|---|---|---|---|---|---|",
    ]
    for folder in sorted(path.parent for path in root.glob("*/config.json")):
        run = load_run(folder)
        uplink = run.payloads()
        names = payloads.messages(folder)
        rounds = len({payload.round for payload in uplink})
        broadcasts = sum(name.endswith("-down.bin") for name in names)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        revision = run.provenance.get("git_revision") or "unknown"
        kept = f"{rounds} of {run.config.rounds + 1}" if uplink else "–"
        lines.append(f"| `{run.id}` | `{revision}` | {kept} | {len(uplink) or '–'} | {broadcasts or '–'} | {size:,} |")
    return "\n".join(lines)


def chosen(runs: Path) -> Iterator[tuple[Path, str]]:
    """(folder, name as a recorded run) of the sweeps' runs that are shipped."""
    for arm, name in OPTIONS.items():
        yield runs / f"options/{arm}-s0", name
    for experiment, (prefix, arms, seeds) in SHIPPED.items():
        for trial in read_experiment(Path(f"experiments/{experiment}.toml")).trials:
            if trial.seed not in seeds or (arms and trial.arm not in arms):
                continue
            yield runs / trial.folder, f"{prefix}-{trial.arm}" + (f"-s{trial.seed}" if trial.seed else "")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=runs_dir() / "sweeps", help="folder of the sweeps' runs")
    parser.add_argument("--again", action="store_true", help="take the recorded runs themselves")
    parser.add_argument("--list", action="store_true", help="ship nothing, print what is recorded")
    options = parser.parse_args()
    if options.list:
        print(table(recorded_dir()))
        raise SystemExit
    recorded = [(path.parent, path.parent.name) for path in sorted(recorded_dir().glob("*/config.json"))]
    for folder, name in recorded if options.again else chosen(options.runs):
        if not options.again and not folder.is_dir():
            print(f"{name}: not run here, left as it is")
            continue
        ship(folder, recorded_dir() / name)
        print(name)
