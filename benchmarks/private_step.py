"""A batch's gradient: plain, clipped sample by sample layer by layer, and with every sample's gradient held.

    python benchmarks/private_step.py              # the default task's tail, 64 images
    python benchmarks/private_step.py --quick      # does it run? once each

Seconds of a core with one thread, the least of several turns, and the ratio to the plain gradient.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
import tyro
from torch.nn import functional

from deltamask.config import RunConfig
from deltamask.task.task import load_task
from deltamask.training.per_sample import Through, clipped


def least(step: Callable[[], object], turns: int) -> float:
    """Seconds of the processor, the least of `turns`, after one that does not count."""
    step()
    times = []
    for _ in range(turns):
        start = time.process_time()
        step()
        times.append(time.process_time() - start)
    return min(times)


def main(quick: bool = False, batch: int = 64) -> None:
    """Print the table.

    Args:
        quick: one turn of eight images.
        batch: images in the batch.
    """
    torch.set_num_threads(1)
    count, turns = (8, 1) if quick else (batch, 5)
    task = load_task(RunConfig(train_samples=200, test_samples=50))
    tail, x, y = task.tail, task.train_x[:count], task.train_y[:count]
    weight, bias = torch.randn(len(task.classes), task.num_features) / 50, torch.zeros(len(task.classes))
    factor = tail.weights * 0.2

    def plain() -> None:
        tail.grad.zero_()
        functional.cross_entropy(functional.linear(tail(x), weight, bias), y).backward()

    def private(through: Through) -> Callable[[], object]:
        return lambda: clipped(tail, x, y, weight, bias, functional.cross_entropy, 1.0, through, head=False)

    steps = {
        "plain": plain,
        "clipped, layer by layer": private(factor),
        "clipped, all gradients held": private(lambda each: each.mul_(factor)),
    }
    took = {name: least(step, turns) for name, step in steps.items()}
    print("| gradient of a batch | seconds of a core | of plain |")
    print("|---|---|---|")
    for name, seconds in took.items():
        print(f"| {name} | {seconds:.4f} | {seconds / took['plain']:.1f} |")


if __name__ == "__main__":
    tyro.cli(main)
