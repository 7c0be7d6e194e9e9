"""How much memory a round takes at the paper's scale, and what it grows with.

A round of DeltaMask on the paper's backbones at full size (last five blocks, random weights, 224 px), from the trunk's
features to the evaluation: local training in one batch, filter, PNG, decoding, aggregation. Each case runs in a process
of its own, whose peak resident memory is what is reported.

    OMP_NUM_THREADS=1 python benchmarks/memory.py            # all cases, into benchmarks/results/memory.json
    python benchmarks/memory.py --case clip-vit-b32 1 64     # one case: backbone, clients, images of each client
    python benchmarks/memory.py --quick                      # does it run? one small backbone, nothing written
"""

from __future__ import annotations

import json
import platform
import tempfile
from typing import Any

import tyro
from timing import RESULTS, apart, peak_bytes, store

TEST_IMAGES = 8
QUICK = [("efficientnet_lite0", 1, 8)]
CASES = [  # backbone, clients, images of each client
    ("clip-vit-b32", 1, 64),
    ("clip-vit-b32", 2, 64),  # the second trains while the server holds the first one's flips
    ("clip-vit-b32", 8, 64),
    ("clip-vit-b32", 16, 64),
    ("clip-vit-l14", 1, 64),
    ("dinov2-small", 1, 8),
    ("dinov2-base", 1, 8),
    ("dinov2-large", 1, 8),
    ("convmixer-768-32", 1, 8),
]


def measure(backbone: str, clients: int, images: int) -> None:
    """One case, as a line of JSON."""
    import torch

    from deltamask import RunConfig, simulate
    from deltamask.simulation.loop import Observer, sampled_clients
    from deltamask.task.task import load_task

    config = RunConfig(
        backbone=backbone, weights="random", masked_blocks=5, image_size=224, dataset="digits", device="cpu",
        train_samples=images * clients, min_client_samples=images, test_samples=TEST_IMAGES, clients=clients, rounds=1,
        batch_size=64, probe_epochs=1,
    )  # fmt: skip
    task = load_task(config)
    assert all(len(task.shards[client]) == images for client in sampled_clients(config, 1))
    loaded = _peak()
    _, record = simulate(config, task=task, observer=Observer())
    line = {
        "backbone": backbone,
        "d": task.d,
        "clients": clients,
        "images": images,
        "peak_gb": _peak(),
        "peak_gb_after_loading": loaded,
        "bpp_up": record.bpp_up,
        "seconds": record.seconds,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    print(json.dumps(line), flush=True)


def _peak() -> float:
    """The most memory of this process so far, in 10⁹ bytes."""
    return round(peak_bytes() / 1e9, 2)


def main(case: tuple[str, int, int] | None = None, quick: bool = False) -> None:
    """Measure every case in a process of its own, and store what they say.

    Args:
        case: backbone, clients, images of each client: measured in this process, and printed.
        quick: one small backbone; nothing is written.
    """
    if case is not None:
        measure(*case)
        return
    lines: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as cache:
        for backbone, clients, images in QUICK if quick else CASES:
            words = ("--case", backbone, str(clients), str(images))
            line = apart(__file__, *words, environment={"DELTAMASK_CACHE": cache})
            lines.append(line)
            what = f"d {line['d']:>11,}  clients {clients}  images {images:2}"
            print(f"{backbone:18} {what}  peak {line['peak_gb']:5.2f} GB", flush=True)
            store({"machine": platform.machine(), "cases": lines}, None if quick else RESULTS / "memory.json")


if __name__ == "__main__":
    tyro.cli(main)
