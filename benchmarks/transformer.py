"""How long a round of a vision transformer takes and how much memory, by how much of it is masked, and what bounds it.

`deltamask run --preset vit` (a ViT-S/14 derived from DINOv2, 3,000 training and 1,000 test images), with one, two
and five blocks masked, in float32 and in bfloat16; each case in a process of its own. The bound is what the tail's
matrix products of such a round take as plain `torch.mm` of the same shapes and precision, attention's own left out.

    python benchmarks/transformer.py                     # all cases, into benchmarks/results/transformer.json
    python benchmarks/transformer.py --case 2 bfloat16   # one case: masked blocks, precision
    python benchmarks/transformer.py --quick             # does it run? a tiny network, nothing written
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any, Literal

import tyro
from timing import RESULTS, apart, best_of, peak_bytes, store

CASES = [(blocks, precision) for blocks in (1, 2, 5) for precision in ("float32", "bfloat16")]
TINY = {"dataset": "digits", "train_samples": 200, "test_samples": 50, "image_size": 42, "weights": "random"}
ROUNDS = 2  # of which the first warms up


def measure(blocks: int, precision: Any, quick: bool) -> dict[str, Any]:
    """One case."""
    import torch

    from deltamask.config.presets import preset
    from deltamask.simulation.loop import simulate
    from deltamask.task.task import load_task

    config = preset("vit").replace(masked_blocks=blocks, precision=precision, **(TINY if quick else {}))
    task = load_task(config)
    loaded = peak_bytes()
    rounds = simulate(config, task=task)
    record = [next(rounds) for _ in range(ROUNDS + 1)][-1]
    peak = peak_bytes()  # before the products below take room of their own
    return {
        "blocks": blocks,
        "precision": precision,
        "d": task.d,
        "seconds": sum(record.seconds.values()),
        "stages": record.seconds,
        "bound": bound(task, config),
        "peak_gb": round(peak / 1e9, 2),
        "peak_gb_after_loading": round(loaded / 1e9, 2),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def bound(task: Any, config: Any) -> float:
    """Seconds of a round's matrix products by plain torch.mm: forward, weights' and inputs' gradients of every step in
    the training's precision, and one evaluation of the test images in float32."""
    import torch

    tokens = task.train_x.shape[1]
    steps = sum(-(-len(shard) // config.batch_size) for shard in task.shards) * config.local_epochs
    training = evaluation = 0.0
    for layer in task.tail.layers:
        rows, (out, into) = config.batch_size * tokens, layer.shape
        x, w, g = torch.randn(rows, into), torch.randn(out, into), torch.randn(rows, out)
        evaluation += best_of(partial(torch.mm, x, w.T), 3)
        x, w, g = (part.to(task.tail.products) for part in (x, w, g))
        products = [(x, w.T), (g.T, x), *([(g, w)] if layer.start else [])]  # the first input needs no gradient
        training += sum(best_of(partial(torch.mm, *pair), 3) for pair in products)
    return steps * training + len(task.test_y) / config.batch_size * evaluation


def main(case: tuple[int, Literal["float32", "bfloat16"]] | None = None, quick: bool = False) -> None:
    """Measure every case in a process of its own, and store what they say.

    Args:
        case: masked blocks and precision: measured in this process, and printed.
        quick: a tiny network and 200 images; nothing is written.
    """
    if case is not None:
        print(json.dumps(measure(*case, quick)))
        return
    lines: list[dict[str, Any]] = []
    for blocks, precision in CASES[:1] if quick else CASES:
        words = ("--case", str(blocks), precision, *(["--quick"] if quick else []))
        line = apart(__file__, *words)
        lines.append(line)
        print(
            f"{blocks} blocks, d {line['d']:>10,}, {precision:8}  {line['seconds']:6.1f} s a round "
            f"(products {line['bound']:.1f} s)  peak {line['peak_gb']:5.2f} GB",
            flush=True,
        )
        store({"cases": lines}, None if quick else RESULTS / "transformer.json")


if __name__ == "__main__":
    tyro.cli(main)
