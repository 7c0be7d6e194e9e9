"""How fast a round is, against the same round done otherwise, in one run on one machine.

    python benchmarks/rounds.py             (about five minutes on two cores)
    python benchmarks/rounds.py --quick     (under a minute)
    python benchmarks/rounds.py --json

Variants, all with the same data, split, server, codec and evaluation:

    ours      trunk features cached, one flat vector for scores, mask and gradient, Adam fused
    compiled  ours, with the tail through torch.compile (compile time apart)
    bf16      ours, with the tail in bfloat16 autocast
    plain     a masked-layer module for each layer, batch norm unfolded, stock Adam: as FedPM's and others' public code
    uncached  ours without the feature cache: the trunk runs on every image, every epoch
    flower    ours, through Flower's simulation on Ray, two clients at a time (`pip install "flwr[simulation]"`)
"""

from __future__ import annotations

import importlib.util
import json as jsonlib
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import timm
import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

from deltamask import backbones, datasets, training
from deltamask.backbones.split import Tail
from deltamask.codecs.wire.dense import Head
from deltamask.config import RunConfig
from deltamask.masking import noise
from deltamask.masking.masks import SCORE_CLIP, Theta, to_fixed, to_float
from deltamask.simulation.loop import Checkpoint, Observer, simulate
from deltamask.task.features import preprocess
from deltamask.task.task import Task, load_task
from deltamask.training import ScoreStep, Trained


class Keep(Observer):
    """Keeps the latest checkpoint."""

    last: Checkpoint | None = None

    def finished(self, record: Any, checkpoint: Checkpoint) -> None:
        self.last = checkpoint


class Clock:
    """Seconds of each round of a simulation, the first one apart: it warms up."""

    def __init__(self, task: Task, config: RunConfig, start: Checkpoint) -> None:
        self.seconds: list[float] = []
        self.stages: list[dict[str, float]] = []
        self.accuracy = 0.0
        rounds = simulate(config, task=task, start=start)
        for _ in range(config.rounds):
            begin = time.perf_counter()
            record = next(rounds)
            self.seconds.append(time.perf_counter() - begin)
            self.stages.append(record.seconds)
            self.accuracy = record.accuracy

    @property
    def median(self) -> float:
        return statistics.median(self.seconds[1:] or self.seconds)


# plain: one module a layer


class Straight(torch.autograd.Function):
    """A Bernoulli draw whose gradient passes straight through."""

    @staticmethod
    def forward(ctx: Any, probability: Tensor) -> Tensor:
        return torch.bernoulli(probability)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient


class MaskedConv2d(nn.Module):
    """A frozen convolution, its weights masked by a draw from its scores."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        self.scores = nn.Parameter(torch.zeros_like(conv.weight))

    def forward(self, x: Tensor) -> Tensor:
        mask = Straight.apply(torch.sigmoid(self.scores))
        conv = self.conv
        return functional.conv2d(
            x, self.conv.weight * mask, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups
        )  # type: ignore[arg-type]


def plain_tail() -> nn.Module:
    """The default tail with batch norms as they are. Random weights: they take the same time."""
    model: Any = timm.create_model("tf_efficientnet_lite0")
    tail = nn.Sequential(model.blocks[-1], model.conv_head, model.bn2, model.global_pool).eval().requires_grad_(False)
    for parent in list(tail.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d):
                setattr(parent, name, MaskedConv2d(child))
    return tail


@contextmanager
def plain_step() -> Iterator[None]:
    """Within the block, clients train with the plain step."""
    tail = plain_tail()
    layers = [module for module in tail.modules() if isinstance(module, MaskedConv2d)]

    def train(task: Task, head: Head, theta: Theta, config: RunConfig, *, round: int, client: int) -> Trained:
        shard = task.shards[client]
        weight, bias = training.split_head(head, task)
        scores = torch.from_numpy(to_float(theta)).logit()
        with torch.no_grad():
            for layer, part in zip(layers, scores.split([layer.scores.numel() for layer in layers]), strict=True):
                layer.scores.copy_(part.view_as(layer.scores))
        optimizer = torch.optim.Adam([layer.scores for layer in layers], lr=config.lr)
        rng = noise.generator(config.seed, "batches", round=round, client=client)
        loss = torch.zeros(())
        for index in training.batches(shard, config.batch_size, config.local_epochs, rng):
            optimizer.zero_grad()
            features = task.train_x[index].contiguous()
            loss = functional.cross_entropy(functional.linear(tail(features), weight, bias), task.train_y[index])
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for layer in layers:
                    layer.scores.clamp_(-SCORE_CLIP, SCORE_CLIP)
        flat = torch.cat([layer.scores.detach().reshape(-1) for layer in layers])
        return Trained(to_fixed(torch.sigmoid(flat.double()).numpy()), float(loss.detach()))

    ours = training.train_scores
    training.train_scores = train
    try:
        yield
    finally:
        training.train_scores = ours


# uncached: the trunk on every image


@dataclass(frozen=True)
class OnTheFly:
    """Stands in for cached features: computes them when they are asked for."""

    images: np.ndarray
    trunk: Callable[[np.ndarray], Tensor]

    def __getitem__(self, index: Any) -> Tensor:
        return self.trunk(self.images[index.numpy() if isinstance(index, Tensor) else index])

    def __len__(self) -> int:
        return len(self.images)


def uncached(task: Task, config: RunConfig) -> Task:
    """The task without its cache."""
    backbone = backbones.build(config.backbone, config.masked_blocks)
    data = datasets.load(config.dataset)

    def trunk(images: np.ndarray) -> Tensor:
        with torch.no_grad():
            parts = [images[start : start + 64] for start in range(0, len(images), 64)]
            return torch.cat([backbone.trunk(preprocess(part, backbone, config.image_size)) for part in parts])

    train: Any = OnTheFly(data.train_x[: len(task.train_y)], trunk)
    test: Any = OnTheFly(data.test_x[: len(task.test_y)], trunk)
    return replace(task, train_x=train, test_x=test)


# other ways to run the tail


def with_module(task: Task, wrap: Callable[[nn.Module], Callable[[Tensor], Tensor]]) -> Task:
    """The task with another way to call its tail's module."""
    tail = Tail(task.tail.module)
    tail.weights.copy_(task.tail.weights)
    call: Any = wrap(tail.module)
    tail.module = call
    return replace(task, tail=tail)


def in_bfloat16(module: nn.Module) -> Callable[[Tensor], Tensor]:
    def call(x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out: Tensor = module(x).float()
        return out

    return call


# what the machine can do


def best_of(work: Callable[[], Any], repeat: int = 7) -> float:
    """Seconds of the quickest of some runs."""
    times = []
    for _ in range(repeat + 1):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times[1:])


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
            products += best_of(lambda x=x, w=w: torch.mm(x, w.T)) + best_of(lambda g=g, x=x: torch.mm(g.T, x))
            if layer.start:  # the first layer's input needs no gradient
                products += best_of(lambda g=g, w=w: torch.mm(g, w))
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
            self.blocks = timm.create_model("vit_base_patch32_224").blocks[-5:]

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
    """Peak resident MB of a process that plays two rounds with 5 of `clients` clients."""
    code = (
        "from deltamask import RunConfig, simulate;"
        f"c = RunConfig(train_samples=10_000, clients={clients}, rho={5 / clients}, min_client_samples=1, rounds=2);"
        "list(simulate(c));"
        # Not getrusage: a child inherits its parent's high-water mark there.
        "print(next(int(line.split()[1]) / 1024 for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(answer.stdout)


def variants(task: Task, config: RunConfig, quick: bool) -> Iterator[tuple[str, Callable[[], Clock]]]:
    """(name, how to run it). All go on from the same probed head."""
    keep = Keep()
    next(simulate(config, task=task, observer=keep))
    start = keep.last
    assert start is not None
    fewer = config.replace(rounds=1)

    def plain() -> Clock:
        with plain_step():
            return Clock(task, config, start)

    yield "ours", lambda: Clock(task, config, start)
    yield "plain", plain
    yield "uncached", lambda: Clock(uncached(task, config), fewer, start)
    if not quick:
        compiled: Any = torch.compile
        yield "bf16", lambda: Clock(with_module(task, in_bfloat16), config, start)
        yield "compiled", lambda: Clock(with_module(task, compiled), config, start)
    if importlib.util.find_spec("flwr") and importlib.util.find_spec("ray"):
        from flower_rounds import flower_clock  # beside this file; needs flwr[simulation]

        yield "flower", lambda: flower_clock(task, config, start)


def main(quick: bool = False, json: bool = False, rounds: int = 4) -> None:
    """Measure and print.

    Args:
        quick: 1,500 images and fewer variants, under a minute.
        json: print JSON for programs.
        rounds: rounds of each variant; the first warms up, the median of the others counts.
    """
    config = RunConfig(rounds=2 if quick else rounds, train_samples=1500 if quick else 6000)
    if quick:
        config = config.replace(test_samples=500, probe_epochs=5)
    task = load_task(config)
    report: dict[str, Any] = {"threads": torch.get_num_threads(), "images": len(task.train_y), "variants": {}}
    for name, measure in variants(task, config, quick):
        begin = time.perf_counter()
        clock = measure()
        report["variants"][name] = {
            "seconds_a_round": clock.median,
            "images_a_second": len(task.train_y) / clock.median,
            "first_round": clock.seconds[0],
            "accuracy": clock.accuracy,
            "stages": clock.stages[-1],
            "measured_s": time.perf_counter() - begin,
        }
        ours = report["variants"]["ours"]["seconds_a_round"]
        report["variants"][name]["times_ours"] = clock.median / ours
        print(f"{name}: {clock.median:.2f} s a round, {clock.median / ours:.2f} × ours", file=sys.stderr)
    report["step_ms"] = step_profile(task, config)
    report["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if not quick:
        report["vit_b32_tail_s"] = large_step()
        report["peak_mb_by_clients"] = {clients: peak_memory(clients) for clients in (5, 10_000)}
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
