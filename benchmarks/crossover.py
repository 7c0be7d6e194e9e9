"""What a message weighs as d grows: measured on real tails, and where that takes each method by arithmetic.

    python benchmarks/crossover.py --write     (ten minutes of a core; docs/rivals.md and docs/crossover.svg)
    python benchmarks/crossover.py --drawing   # the same from the stored results
    python benchmarks/crossover.py --quick     (does it run? one small tail, nothing written)

Measured: bytes that a client sends in a round after the head's, each method with the headline's settings, on tails of
two depths. Beyond them, from the largest tail: flips and weights grow with d; LoRA's adapters with
√d, as a matrix m × n of rank r takes r·(m + n) numbers, and Fed-SB's r × r squares not at all, if a tail grows by wider
layers (both grow with d if it grows by more layers); directions of zeroth-order methods are counted, whatever d is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro
from timing import RESULTS, store

from deltamask.config import RunConfig
from deltamask.config.presets import RECIPE
from deltamask.simulation.loop import simulate
from deltamask.studies.document import with_blocks
from deltamask.studies.wording import markdown_table
from deltamask.task.task import load_task

if TYPE_CHECKING:
    import plotly.graph_objects as go

STORED = RESULTS / "crossover.json"
DOCS = Path(__file__).resolve().parent.parent / "docs"
ROUNDS = 3
IMAGES: dict[str, Any] = {"backbone": "efficientnet_lite0", "dataset": "fashion-mnist-mini", "test_samples": 100}
TAILS = [{**IMAGES, "masked_blocks": blocks} for blocks in (1, 3)]
Row = dict[str, Any]
METHODS: dict[str, Row] = {
    "DeltaMask, our recipe": {**RECIPE, "lr": 0.3},
    "FedPM given θ_g": {"method": "fedpm", "side_information": "on", "lr": 0.3},
    "Fine-tuning, 32 bit": {"method": "finetune"},
    "EDEN, 1 bit": {"method": "eden"},
    "LoRA, 4-bit EDEN": {"method": "lora", "update_codec": "eden4", "weight_lr": 0.003},
    "Fed-SB, 4-bit EDEN": {"method": "fed-sb", "update_codec": "eden4", "lora_rank": 32, "weight_lr": 0.003},
    "DeComFL, 5 directions": {"method": "decomfl", "zo_steps": 5, "weight_lr": 1e-5},
}
LEARNT = ("DeltaMask, our recipe", "FedPM given θ_g")  # whose bytes depend on what is learnt; of the others on d alone
FEW = {"train_samples": 200, "min_client_samples": 1}
POWERS = {"LoRA, 4-bit EDEN": 0.5, "Fed-SB, 4-bit EDEN": 0.0, "DeComFL, 5 directions": 0.0}  # of d; of the others 1
BEYOND = [10**power for power in (7, 8, 9, 10)]
COLORS = ["#0072b2", "#d55e00", "#999999", "#56b4e9", "#009e73", "#cc79a7", "#b8860b"]


def measure(tail: Row, names: Sequence[str] = tuple(METHODS), rounds: int = ROUNDS) -> Iterator[Row]:
    """Methods on one tail: bytes up a client and round."""
    whole = RunConfig(**tail, rounds=rounds, probe_epochs=1, keep_payloads="none")
    tasks = {config: load_task(config) for config in (whole, whole.replace(**FEW))}
    for name in names:
        changes = METHODS[name]
        shared, task = list(tasks.items())[name not in LEARNT]
        records = list(simulate(shared.replace(**changes), task=task))[1:]
        if changes.get("method") == "fed-sb":
            records = records[1:]  # round 1 brings the bases, once
        sent = sum(record.uplink_bytes for record in records) / len(records) / shared.clients
        yield {"method": name, "backbone": shared.backbone, "blocks": shared.masked_blocks, "d": task.d, "bytes": sent}
        print(f"{shared.backbone} {shared.masked_blocks}: {name}: d = {task.d:,}: {sent:,.0f} bytes", flush=True)


def beyond(rows: list[Row], name: str) -> Callable[[int], float]:
    """Bytes at a d that was not measured, from the largest tail that was."""
    last = max((row for row in rows if row["method"] == name), key=lambda row: int(row["d"]))
    return lambda d: float(last["bytes"] * (d / last["d"]) ** POWERS.get(name, 1.0))


def table(rows: list[Row]) -> str:
    """Measured and, in italics, computed."""
    tails = sorted({(row["d"], row["backbone"], row["blocks"]) for row in rows})
    head = [
        "bytes up, a client and round",
        *(f"d = {d / 1e6:.1f} M" for d, *_ in tails),
        *(f"*10^{len(str(d)) - 1}*" for d in BEYOND),
    ]
    body = []
    for name in METHODS:
        held = {(row["d"], row["backbone"], row["blocks"]): row["bytes"] for row in rows if row["method"] == name}
        computed = beyond(rows, name)
        body.append([name, *(f"{held[tail]:,.0f}" for tail in tails), *(f"*{computed(d):.1e}*" for d in BEYOND)])
    return markdown_table(head, body)


def found(rows: list[Row], first: str = "DeltaMask, our recipe") -> str:
    """From which d on others send less than the first, by the same arithmetic."""
    parts = []
    for name, power in POWERS.items():
        own = [[row for row in rows if row["method"] == each] for each in (first, name)]
        if not all(own):
            continue
        ours, theirs = (max(each, key=lambda row: int(row["d"])) for each in own)
        # ours·(d/D) = theirs·(d/D)^power at the largest measured D
        at = ours["d"] * (theirs["bytes"] / ours["bytes"]) ** (1 / (1 - power))
        when = f"from d ≈ {at:.0e} on" if at > ours["d"] else "already on the largest tail that was measured"
        parts.append(f"{name}, {when}")
    return f"Less than {first} sends: {'; '.join(parts)}."


def draw(rows: list[Row]) -> go.Figure:
    """Points: measured. Dotted: computed."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, color in zip(METHODS, COLORS, strict=True):
        own = sorted((row["d"], row["bytes"]) for row in rows if row["method"] == name)
        line, computed = {"color": color}, beyond(rows, name)
        figure.add_scatter(x=[d for d, _ in own], y=[size for _, size in own], name=name, mode="markers", marker=line)
        far = [own[-1][0], *(d for d in BEYOND if d > own[-1][0])]
        figure.add_scatter(
            x=far, y=[computed(d) for d in far], mode="lines", line={**line, "dash": "dot"}, showlegend=False
        )
    figure.update_xaxes(type="log", title="d, parameters that are masked or tuned", dtick=1, exponentformat="power")
    figure.update_yaxes(type="log", title="bytes up, a client and round", dtick=1, exponentformat="power")
    figure.update_layout(template="plotly_white", width=900, height=460, margin={"l": 70, "r": 20, "t": 20, "b": 60})
    return figure


def main(write: bool = False, drawing: bool = False, quick: bool = False) -> None:
    """Measure, print and store.

    Args:
        write: also make the document's table and the figure.
        drawing: make them from what is stored; measure nothing.
        quick: one tail, 200 images, some methods; nothing is stored.
    """
    if quick:
        names = list(METHODS)
        rows = list(measure({**IMAGES, "train_samples": 200, "test_samples": 50}, [names[0], names[-1]], rounds=1))
        print(found(rows))
        return
    rows = json.loads(STORED.read_text()) if drawing else [row for tail in TAILS for row in measure(tail)]
    store(rows, STORED)
    if write or drawing:
        page = DOCS / "rivals.md"
        made = {"crossover": f"\n{table(rows)}\n", "cheaper": found(rows)}
        page.write_text(with_blocks(page.read_text(), lambda what: made[what]))
        draw(rows).write_image(DOCS / "crossover.svg")


if __name__ == "__main__":
    tyro.cli(main)
