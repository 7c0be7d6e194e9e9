"""Slopes along random directions against true gradients, and walks that end in the same bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from deltamask import training
from deltamask.task.custom import make_task
from deltamask.task.task import Task, load_task
from deltamask.training import zeroth_order
from tests.support import tiny

AT = {"round": 3, "client": 1}


@pytest.fixture(scope="module")
def task(tiny_cache: Path) -> Task:
    return load_task(tiny.config())


@pytest.fixture(scope="module")
def small() -> Task:
    """12 weights between a frozen layer and a head of two classes, 80 samples."""
    rng = np.random.default_rng(1)
    x = torch.from_numpy(rng.normal(size=(80, 4)).astype(np.float32))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3), nn.Tanh())
    y = (x[:, 0] > 0).long()
    return make_task(model=network, split_at=2, train=(x, y), test=(x, y), shards=2)


def head_of(task: Task) -> np.ndarray:
    return np.random.default_rng(2).normal(0, 1, task.head_size).astype(np.float32)


def gradient(task: Task, index: torch.Tensor) -> np.ndarray:
    """∂L/∂w by autograd, at the pretrained weights."""
    task.tail.effective.copy_(task.tail.weights)
    task.tail.grad.zero_()
    weight, bias = training.split_head(head_of(task), task)
    logits = functional.linear(task.tail(task.train_x[index]), weight, bias)
    functional.cross_entropy(logits, task.train_y[index]).backward()
    return task.tail.grad.numpy().copy()


def test_a_slope_is_the_gradient_along_its_direction(task: Task) -> None:
    config, index = tiny.config(method="decomfl"), torch.arange(64)
    probe, true = zeroth_order.Probe(task, head_of(task), functional.cross_entropy), gradient(task, index)
    along = [zeroth_order.direction(config, 1, step, task.d) for step in range(8)]
    found = [probe.slope(task.tail.weights, torch.from_numpy(z), 1e-3, index)[0] for z in along]
    assert np.std([true @ z for z in along]) > 10
    np.testing.assert_allclose(found, [true @ z for z in along], rtol=0.01, atol=0.2)


def test_slopes_times_directions_have_the_gradient_as_their_mean(small: Task) -> None:
    """Over 4,000 directions, within four standard errors in each of the 12 weights: their own, sample by sample."""
    config, shard = tiny.config(method="decomfl", clients=2), torch.from_numpy(small.shards[1])
    probe, true = zeroth_order.Probe(small, head_of(small), functional.cross_entropy), gradient(small, shard)
    estimates = []
    for step in range(4000):
        z = zeroth_order.direction(config, 1, step, small.d)
        slope, _ = probe.slope(small.tail.weights, torch.from_numpy(z), 1e-2, shard)
        estimates.append(slope * z)
    error = np.std(estimates, axis=0) / np.sqrt(len(estimates))
    assert np.abs(true).max() > 10 * error.max()
    assert (np.abs(np.mean(estimates, axis=0) - true) < 4 * error + 1e-3).all()


def test_directions_are_fair_signs_that_nothing_but_their_names_decides() -> None:
    config, d = tiny.config(), 100_003
    z = zeroth_order.direction(config, 2, 5, d)
    assert z.dtype == np.float32
    assert set(np.unique(z)) == {-1.0, 1.0}
    assert abs(z.mean()) < 4 / np.sqrt(d)
    np.testing.assert_array_equal(z, zeroth_order.direction(config, 2, 5, d))
    for other in (
        zeroth_order.direction(config, 2, 6, d),
        zeroth_order.direction(config, 3, 5, d),
        zeroth_order.direction(config.replace(seed=1), 2, 5, d),
    ):
        assert abs((z * other).mean()) < 4 / np.sqrt(d)


def test_a_walk_is_the_sum_of_its_steps(task: Task) -> None:
    config = tiny.config(method="decomfl", weight_lr=0.01, zo_steps=4)
    coefficients = np.array([0.5, 0.0, -2.0, 1.0], np.float32)
    walked = zeroth_order.moved(config, task.tail.weights.numpy(), coefficients, 2)
    z = np.stack([zeroth_order.direction(config, 2, step, task.d) for step in range(4)])
    np.testing.assert_allclose(walked, task.tail.weights.numpy() - 0.01 * coefficients @ z, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("walks", [False, True])
def test_a_client_looks_along_each_direction_from_where_it_stands(task: Task, walks: bool) -> None:
    """Against the same by hand: each on its next batch, at the first weights or at those after the step before."""
    config = tiny.config(method="decomfl", weight_lr=1e-3, zo_steps=9, batch_size=32)
    ours, _ = zeroth_order.slopes(task, head_of(task), task.tail.weights.numpy(), config, walks=walks, **AT)
    rng = training.zeroth_order.noise.generator(config.seed, "batches", **AT)
    order = list(training.batches(task.shards[1], 32, 9, rng))[:9]
    assert len(task.shards[1]) < 9 * 32  # it begins anew with its samples
    probe, w = zeroth_order.Probe(task, head_of(task), functional.cross_entropy), task.tail.weights.clone()
    for step, index in enumerate(order):
        z = torch.from_numpy(zeroth_order.direction(config, 3, step, task.d))
        slope, _ = probe.slope(w, z, config.zo_radius, index)
        assert ours[step] == pytest.approx(slope, rel=1e-4, abs=1e-3)
        if walks:
            w -= 1e-3 * slope * z
    assert np.abs(ours).max() > 0.1


def test_slopes_that_are_not_finite_are_refused(task: Task) -> None:
    broken = replace(task, train_x=torch.full_like(task.train_x, float("nan")))
    with pytest.raises(FloatingPointError, match="no longer finite"):
        zeroth_order.slopes(broken, head_of(task), task.tail.weights.numpy(), tiny.config(), walks=False, **AT)
