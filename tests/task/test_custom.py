"""A user's own network and tensors: as a task, in every method, and what is said when they do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from deltamask import RunConfig, make_task, simulate
from deltamask.task.task import Task

DIGITS = load_digits()
X, Y = DIGITS.data.astype(np.float32) / 16, DIGITS.target


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(
            nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 40), nn.ReLU(), nn.Linear(40, 32), nn.ReLU(), nn.Linear(32, 10)
        )


def task(**changes: Any) -> Task:
    arguments: dict[str, Any] = {
        "model": network(), "split_at": 2, "train": (X[:600], Y[:600]), "test": (X[600:900], Y[600:900]), "shards": 4,
    }  # fmt: skip
    return make_task(**(arguments | changes))


@pytest.mark.parametrize("method", ["deltamask", "fedpm", "finetune"])
def test_three_rounds_of_a_users_own_network(method: str) -> None:
    own = task()
    assert (own.d, own.head_size) == (48 * 40 + 40 * 32, 10 * 33)  # the classifier is left out
    records = list(simulate(RunConfig(method=method, clients=4, rounds=3, probe_lr=0.03, lr=0.3), task=own))
    assert [record.round for record in records] == [0, 1, 2, 3]
    assert records[0].accuracy > 0.4  # on random features; chance is 0.1
    assert all(record.uplink_bytes > 0 for record in records)


def test_a_pair_of_modules_is_the_same_task_as_the_sequence() -> None:
    whole, model = task(), network()
    pair = task(model=(model[:2], model[2:]), split_at=None)
    assert torch.equal(whole.train_x, pair.train_x)
    assert torch.equal(whole.tail.weights, pair.tail.weights)
    assert [shard.tolist() for shard in whole.shards] == [shard.tolist() for shard in pair.shards]
    with torch.inference_mode():
        direct = model[:-1](torch.from_numpy(X[600:900]))
    assert torch.allclose(whole.pooled(whole.test_x, whole.tail.weights), direct, atol=1e-6)


def test_images_and_convolutions() -> None:
    conv = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
    images = X.reshape(-1, 1, 8, 8)
    own = task(model=conv, train=(images[:200], Y[:200]), test=(images[200:300], Y[200:300]))
    assert (own.d, own.num_features) == (8 * 4 * 9, 8 * 4)
    *_, last = simulate(RunConfig(clients=4, rounds=1), task=own)
    assert 0 <= last.accuracy <= 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"split_at": 9}, "split_at = 9 is out of range: 0 ≤ split_at < 7"),
        ({"split_at": None}, "split_at = None is out of range"),
        ({"split_at": 6}, "no linear or convolution layer stands behind it"),
        ({"model": nn.Linear(64, 10)}, "model is a Linear; a torch.nn.Sequential or"),
        ({"train": (X[:10], Y[:9])}, "train: 10 samples and labels of shape"),
        ({"train": (X[:10], Y[:10] / 2)}, "train: labels are whole numbers from 0, these are torch.float64"),
        ({"test": (X[:10] * np.nan, Y[:10])}, "test: x holds values that are NaN or infinite"),
        ({"shards": 601}, "shards = 601 is out of range: 1 ≤ shards ≤ 600"),
        ({"shards": [[0, 1], [600]]}, "shards: client 1 holds no samples, or some beyond the 600 there are"),
        ({"classes": ["a", "b"]}, "labels reach 9, and classes names 2"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("(", r"\(").replace("[", r"\[")):
        task(**changes)


def test_a_config_for_another_number_of_clients_is_refused() -> None:
    with pytest.raises(ValueError, match="clients = 5, and the task has shards for 4"):
        next(iter(simulate(RunConfig(), task=task())))
