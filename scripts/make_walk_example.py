"""Makes data/walk/example.json, the small real example that the Learn page walks through.

    python scripts/make_walk_example.py
    python scripts/make_walk_example.py --quick --out FILE      # does it run? one round of 200 images

Trains the `fashion` preset up to a round and keeps, of one layer, the square block of weights in which the clients'
masks flip most: θ_g as the server sent it, and each client's θ_k after its local training. A minute or two.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import tyro

from deltamask import training
from deltamask.config.presets import PRESETS
from deltamask.masking import masks
from deltamask.masking.noise import PublicNoise
from deltamask.simulation.loop import Checkpoint, Observer, simulate
from deltamask.simulation.records import RoundRecord
from deltamask.task.task import load_task

ROUND, LAYER, SIDE = 3, "1", 12
TARGET = Path(__file__).resolve().parent.parent / "data" / "walk" / "example.json"


class Last(Observer):
    """Keeps the newest checkpoint."""

    def finished(self, record: RoundRecord, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint


def main(out: Path = TARGET, quick: bool = False) -> None:
    """Write the example.

    Args:
        out: the file.
        quick: of the first round on 200 images.
    """
    config, at = PRESETS["fashion"], ROUND
    if quick:
        config, at = config.replace(train_samples=200, test_samples=50, probe_epochs=1), 1
    task, last = load_task(config), Last()
    for record in simulate(config, task=task, observer=last):
        if record.round == at - 1:
            break
    theta, head = last.checkpoint.state.theta, last.checkpoint.state.head
    trained = [
        training.train_scores(task, head, theta, config, round=at, client=client).theta
        for client in range(config.clients)
    ]
    layer = next(layer for layer in task.tail.layers if layer.name == LAYER)
    height, width = layer.shape[0], (layer.stop - layer.start) // layer.shape[0]
    flipped = np.zeros(task.d, np.int64)
    for client, theta_client in enumerate(trained):
        flipped[masks.flips(theta_client, theta, PublicNoise(config.seed, at, client).words(0, task.d))] += 1
    plane = flipped[layer.start : layer.stop].reshape(height, width)
    summed = np.pad(plane.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    blocks = summed[SIDE:, SIDE:] - summed[:-SIDE, SIDE:] - summed[SIDE:, :-SIDE] + summed[:-SIDE, :-SIDE]
    row, column = (int(i) for i in np.unravel_index(blocks.argmax(), blocks.shape))

    def block(values: np.ndarray) -> list[int]:
        whole = values[layer.start : layer.stop].reshape(height, width)
        return [int(value) for value in whole[row : row + SIDE, column : column + SIDE].reshape(-1)]

    example = {
        "preset": "fashion",
        "round": at,
        "layer": LAYER,
        "start": layer.start,
        "width": width,
        "rows": [row, row + SIDE],
        "columns": [column, column + SIDE],
        "flips_in_block": int(blocks.max()),
        "flips_in_block_mean": float(blocks.mean()),
        "theta_global": block(theta),
        "theta_clients": [block(theta_client) for theta_client in trained],
    }
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(example) + "\n")
    print(f"wrote {out}: {example['flips_in_block']} flips in the block, {blocks.mean():.1f} in a usual one")


if __name__ == "__main__":
    tyro.cli(main)
