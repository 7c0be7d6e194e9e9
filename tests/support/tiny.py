"""A backbone small enough to train in a test: seeded random weights, 32 px, d of a few thousand.

Importing this module registers it as `tiny`; it is never offered to users. Random features are enough for real digits:
a linear probe on them reaches about 0.6.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from deltamask.backbones import BackboneSpec, backbones
from deltamask.backbones.split import Backbone, cut, freeze
from deltamask.config import RunConfig
from deltamask.methods.base import state_arrays
from deltamask.simulation.loop import Checkpoint, Observer
from deltamask.simulation.records import RoundRecord

BLOCKS, WIDTH, FEATURES = 3, 16, 32
D = WIDTH * WIDTH * 9 + 4 * WIDTH * FEATURES  # with masked_blocks = 1: one convolution and the last linear layer

torch.set_num_threads(1)  # tiny layers; and the order of sums must not depend on the machine's load


def _block() -> nn.Module:
    return nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH), nn.ReLU())


def build(masked_blocks: int, weights: str = "random", image_size: int = 32) -> Backbone:
    """Convolutions with biases, batch norms with statistics of their own, pooling, a linear layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(20)
        stem = [nn.Conv2d(3, 8, 5, stride=2, padding=2), nn.ReLU(), nn.Conv2d(8, WIDTH, 5, stride=2, padding=2)]
        blocks = [_block() for _ in range(BLOCKS)]
        end = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * WIDTH, FEATURES), nn.ReLU()]
        for part in nn.Sequential(*stem, *blocks, *end).modules():
            if isinstance(part, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
                part.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    frozen, masked = cut(blocks, masked_blocks, "tiny")
    return Backbone(
        name="tiny",
        trunk=freeze(nn.Sequential(*stem, *frozen)),
        tail=freeze(nn.Sequential(*masked, *end)),
        num_features=FEATURES,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        interpolation="bilinear",
        weights_id="seed 20",
    )


backbones.register("tiny")(
    BackboneSpec(build, where=lambda: Path(__file__), license="MIT", how_to_get="", size_bytes=0, offered=False)
)


def config(**changes: Any) -> RunConfig:
    """A run of about a second on real digits."""
    small: dict[str, Any] = {
        "backbone": "tiny",
        "dataset": "digits",
        "image_size": 32,
        "train_samples": 400,
        "test_samples": 200,
        "clients": 4,
        "rounds": 2,
        "batch_size": 32,
        "probe_epochs": 40,
        "probe_lr": 0.03,
        "keep_payloads": "all",
    }
    return RunConfig(**(small | changes))


def flags(config: RunConfig) -> list[str]:
    """The config as options of `deltamask run`, every field spelt out."""
    return [word for name, value in config.model_dump().items() for word in (f"--{name.replace('_', '-')}", str(value))]


def timeless(record: RoundRecord | dict[str, Any]) -> dict[str, Any]:
    """A record as stored, without what differs from one run to the next: seconds."""
    plain = record.to_json() if isinstance(record, RoundRecord) else record
    return {name: value for name, value in plain.items() if name != "seconds"}


def assert_same_state(left: Any, right: Any) -> None:
    """Two server states, or two stored checkpoints, hold the same arrays bit for bit."""
    ours, theirs = (state if isinstance(state, dict) else state_arrays(state) for state in (left, right))
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name, strict=True)


@dataclass
class Witness(Observer):
    """Keeps what it sees: payloads by (round, client), every broadcast, and every checkpoint."""

    payloads: dict[tuple[int, int], bytes] = field(default_factory=dict)
    broadcasts: dict[int, bytes] = field(default_factory=dict)
    suffixes: set[str] = field(default_factory=set)
    orders: dict[tuple[int, int], int] = field(default_factory=dict)
    checkpoints: list[Checkpoint] = field(default_factory=list)
    records: list[RoundRecord] = field(default_factory=list)

    def broadcast(self, round: int, message: bytes) -> None:
        assert round not in self.broadcasts
        self.broadcasts[round] = message

    def payload(self, round: int, client: int, order: int, suffix: str, payload: bytes) -> None:
        assert (round, client) not in self.payloads
        self.payloads[round, client] = payload
        self.orders[round, client] = order
        self.suffixes.add(suffix)

    def finished(self, record: RoundRecord, checkpoint: Checkpoint) -> None:
        self.records.append(record)
        self.checkpoints.append(checkpoint)
