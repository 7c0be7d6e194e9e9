"""How fast a round is, against the same round done otherwise, in one run on one machine.

    python benchmarks/rounds.py             (about five minutes on two cores)
    python benchmarks/rounds.py --quick     (does it run? some seconds, and figures worth nothing)
    python benchmarks/rounds.py --json

Variants, all with the same data, split, server, codec and evaluation:

    ours      trunk features cached, one flat vector for scores, mask and gradient, Adam fused
    plain     a masked-layer module for each layer, batch norm unfolded, stock Adam: as FedPM's and others' public code
    uncached  ours without the feature cache: the trunk runs on every image, every epoch
    masks     ours, with the thresholded and a sampled mask measured in every round, beside the mean mask
    bf16      ours, with --precision bfloat16
    compiled  ours, with the tail through torch.compile (compile time apart)
    flower    ours, through Flower's simulation on Ray, two clients at a time (`pip install "flwr[simulation]"`)
"""

from __future__ import annotations

import importlib.util
import json as jsonlib
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import timm
import torch
import tyro
from rich.console import Console
from rich.table import Table
from round_timing import Timing, play, probed
from round_variants import plain_step, uncached, with_module
from timing import apart, best_of, peak_bytes
from torch import Tensor, nn

from deltamask.backbones.split import Tail
from deltamask.config import RunConfig
from deltamask.masking.masks import to_fixed
from deltamask.simulation.loop import Checkpoint, simulate
from deltamask.task.task import Task, load_task
from deltamask.training import ScoreStep

QUICK: dict[str, Any] = {"rounds": 1, "train_samples": 200, "test_samples": 50, "probe_epochs": 1}
QUICK_VARIANTS = ("ours", "plain", "uncached")


def step_profile(task: Task, config: RunConfig) -> dict[str, float]:
    """Milliseconds of a step's parts, and of the same matrix products by plain torch.mm."""
    head = np.random.default_rng(0).normal(0, 0.1, task.head_size).astype(np.float32)
    theta = to_fixed(np.full(task.d, config.theta_init))
    step = ScoreStep(task, head, theta, config.lr, config.adam_eps, np.random.SFC64(0))
    index = torch.arange(min(config.batch_size, len(task.train_y)))
    features = task.train_x[index]
    products = 0.0
    for layer in task.tail.layers:
        if len(layer.shape) == 2 or layer.shape[2:] == (1, 1):
            rows = len(features) * features.shape[2] * features.shape[3]
            x, w, g = torch.randn(rows, layer.shape[1]), torch.randn(layer.shape[:2]), torch.randn(rows, layer.shape[0])
            products += best_of(partial(torch.mm, x, w.T)) + best_of(partial(torch.mm, g.T, x))
            if layer.start:  # the first layer's input needs no gradient
                products += best_of(partial(torch.mm, g, w))
    step.draw()
    # The whole of `learn` is held against the products: activations, pooling and the loss are in it as well.
    times = {
        "draw": best_of(step.draw), "learn": best_of(lambda: step.learn(index)), "update": best_of(step.update),
        "torch.mm, same shapes": products,
    }  # fmt: skip
    milliseconds = {name: 1000 * seconds for name, seconds in times.items()}
    return {**milliseconds, "torch.mm / learn": products / times["learn"]}


def large_step() -> dict[str, float]:
    """Seconds of one step and one message for the last five blocks of a random ViT-B/32 (d = 35.4 M, 50 tokens)."""
    from deltamask.codecs import CodecContext, codecs
    from deltamask.masking.masks import flips
    from deltamask.masking.noise import PublicNoise

    class Blocks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            whole: Any = timm.create_model("vit_base_patch32_224")
            self.blocks: nn.Sequential = whole.blocks[-5:]

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.blocks(x).mean(1)
            return out

    tail = Tail(Blocks().eval().requires_grad_(False))
    labels = torch.arange(64) % 10
    shard = [np.arange(64)]
    task = Task(tail, torch.randn(64, 50, 768), labels, torch.randn(1, 50, 768), labels[:1], shard, ("",) * 10, 768)
    theta = to_fixed(np.full(task.d, 0.95))
    head = np.random.default_rng(0).normal(0, 0.1, task.head_size).astype(np.float32)
    step = ScoreStep(task, head, theta, 0.1, 1e-8, np.random.SFC64(0))
    index = torch.arange(64)
    step.draw()
    step.learn(index)
    times = {
        "draw": best_of(step.draw, 2), "learn": best_of(lambda: step.learn(index), 1), "update": best_of(step.update, 2)
    }  # fmt: skip
    client = to_fixed(torch.sigmoid(step.scores.detach()).numpy())
    context = CodecContext(1, 0, theta, PublicNoise(0, 1, 0), tuple(tail.offsets))
    changed = flips(client, theta, context.noise.words(0, task.d))
    times["encode"] = best_of(lambda: codecs["bfuse8"].encode(changed, context), 1)
    rest = times["draw"] + times["update"] + times["encode"]
    return {
        "d": task.d,
        "flips": len(changed),
        **times,
        "draw, update and encode, share of the step": rest / (rest + times["learn"]),
    }


def peak_memory(clients: int) -> float:
    """Peak resident MB of this process after two rounds with 5 of `clients` clients."""
    config = RunConfig(train_samples=10_000, clients=clients, rho=5 / clients, min_client_samples=1, rounds=2)
    for _ in simulate(config):
        pass
    return peak_bytes() / 2**20


def variants(task: Task, config: RunConfig, start: Checkpoint) -> dict[str, Callable[[], Timing]]:
    """How to run each, by name. All go on from the same probed head."""

    def plain() -> Timing:
        with plain_step():
            return play(task, config, start)

    def flower() -> Timing:
        from flower_rounds import play_on_flower  # needs flwr[simulation]

        return play_on_flower(task, config, start)

    compiled: Any = torch.compile
    runners: dict[str, Callable[[], Timing]] = {
        "ours": lambda: play(task, config, start),
        "plain": plain,
        "uncached": lambda: play(uncached(task, config), config.replace(rounds=1), start),
        "masks": lambda: play(task, config.replace(masks_every=1), start),
        "bf16": lambda: play(load_task(config.replace(precision="bfloat16")), config, start),
        "compiled": lambda: play(with_module(task, compiled), config, start),
    }
    if importlib.util.find_spec("flwr") and importlib.util.find_spec("ray"):
        runners["flower"] = flower
    return runners


def main(
    quick: bool = False, json: bool = False, rounds: int = 4, only: tuple[str, ...] = (), peak_of: int = 0
) -> None:
    """Measure and print.

    Args:
        quick: one round of 200 images and fewer variants: does it run?
        json: print JSON for programs.
        rounds: rounds of each variant; the first warms up, the median of the others counts.
        only: these variants alone, beside `ours`.
        peak_of: print the peak memory, in MB, of two rounds with so many clients, and nothing else.
    """
    if peak_of:
        print(peak_memory(peak_of))
        return
    config = RunConfig(**QUICK) if quick else RunConfig(rounds=rounds, train_samples=6000)
    task = load_task(config)
    runners = variants(task, config, probed(task, config))
    if unknown := sorted(set(only) - set(runners)):
        raise SystemExit(f"no variant {', '.join(unknown)}; there are {', '.join(runners)}")
    chosen = ["ours", *only] if only else QUICK_VARIANTS if quick else list(runners)
    report: dict[str, Any] = {"threads": torch.get_num_threads(), "images": len(task.train_y), "variants": {}}
    for name in dict.fromkeys(chosen):
        begin = time.perf_counter()
        timing = runners[name]()
        row = {
            "seconds_a_round": timing.median,
            "images_a_second": len(task.train_y) / timing.median,
            "first_round": timing.seconds[0],
            "accuracy": timing.accuracy,
            "stages": timing.stages[-1],
            "measured_s": time.perf_counter() - begin,
        }
        report["variants"][name] = row
        row["times_ours"] = timing.median / report["variants"]["ours"]["seconds_a_round"]
        print(f"{name}: {timing.median:.2f} s a round, {row['times_ours']:.2f} × ours", file=sys.stderr)
    report["step_ms"] = step_profile(task, config)
    report["peak_mb"] = peak_bytes() / 2**20
    if not quick and not only:
        report["vit_b32_tail_s"] = large_step()
        report["peak_mb_by_clients"] = {clients: apart(__file__, "--peak-of", str(clients)) for clients in (5, 10_000)}
    if json:
        print(jsonlib.dumps(report, indent=1))
        return
    console = Console()
    table = Table("variant", "s a round", "images/s", "× ours", "accuracy", title="The same round, done otherwise")
    for name, row in report["variants"].items():
        figures = (row["seconds_a_round"], row["images_a_second"], row["times_ours"])
        table.add_row(name, *(f"{figure:,.2f}" for figure in figures), f"{row['accuracy']:.4f}")
    console.print(table)
    for title in ("step_ms", "vit_b32_tail_s", "peak_mb_by_clients"):
        if title in report:
            console.print(title, {key: round(value, 3) for key, value in report[title].items()})
    console.print("stages of ours, seconds", report["variants"]["ours"]["stages"])
    console.print(f"peak memory {report['peak_mb']:.0f} MB, {report['threads']} threads")


if __name__ == "__main__":
    tyro.cli(main)
