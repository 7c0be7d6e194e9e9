"""W + B·R·A: the gradient of R, and what it spans."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from deltamask import training
from deltamask.task.task import Task, load_task
from deltamask.training import square_adapters
from tests.support import tiny

RANK = 5


@pytest.fixture(scope="module")
def task(tiny_cache: Path) -> Task:
    return load_task(tiny.config())


def some_bases(task: Task) -> np.ndarray:
    size = sum(RANK * int(shape.sum()) for shape in square_adapters.shapes(task.tail))
    return np.random.default_rng(3).normal(0, 0.3, size).astype(np.float32)


def head_of(task: Task) -> np.ndarray:
    return np.random.default_rng(2).normal(0, 0.3, task.head_size).astype(np.float32)


def loss_at(task: Task, effective: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """The loss under weights (d,) in double precision, by a copy of the tail."""
    module = copy.deepcopy(task.tail.module).double()
    parameters = {
        f"{layer.name}.weight": effective[layer.start : layer.stop].view(layer.shape) for layer in task.tail.layers
    }
    pooled = torch.func.functional_call(module, parameters, (task.train_x[index].double(),))
    weight, bias = (part.double() for part in training.split_head(head_of(task), task))
    return functional.cross_entropy(functional.linear(pooled, weight, bias), task.train_y[index])


def test_rs_gradient_is_that_of_the_loss(task: Task) -> None:
    """Against central differences along random directions, in double precision."""
    ranks, index = [RANK], torch.arange(64)
    between = square_adapters.frames(task.tail, some_bases(task), ranks)
    r = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, RANK * RANK))

    def at(values: torch.Tensor) -> torch.Tensor:
        effective = task.tail.weights.double()
        ((layer, b, a),) = between
        effective[layer.start : layer.stop] += (b.double() @ values.view(RANK, RANK) @ a.double()).reshape(-1)
        return loss_at(task, effective, index)

    effective = square_adapters.effective(task.tail, square_adapters.split(r.float(), ranks), between)
    task.tail.grad.zero_()
    task.tail.effective.copy_(effective)
    weight, bias = training.split_head(head_of(task), task)
    logits = functional.linear(task.tail(task.train_x[index]), weight, bias)
    functional.cross_entropy(logits, task.train_y[index]).backward()
    gradient = torch.empty(RANK * RANK)
    square_adapters.chain_gradients(task.tail, square_adapters.split(gradient, ranks), between)
    rng = np.random.default_rng(1)
    with torch.no_grad():
        assert float(at(r)) == pytest.approx(float(loss_at(task, effective.double(), index)), rel=1e-5)
        for _ in range(5):
            direction = torch.from_numpy(rng.normal(size=len(r)))
            slope = (at(r + 1e-5 * direction) - at(r - 1e-5 * direction)) / 2e-5
            assert float(gradient.double() @ direction) == pytest.approx(float(slope), rel=2e-3, abs=1e-5)


def test_the_first_gradient_is_that_of_the_mean_over_the_clients_samples(task: Task) -> None:
    config = tiny.config(batch_size=13)
    ours, loss = square_adapters.first_gradient(task, head_of(task), config, round=1, client=2)
    effective = task.tail.weights.double().requires_grad_(True)
    theirs = loss_at(task, effective, torch.from_numpy(task.shards[2]))
    theirs.backward()
    assert loss == pytest.approx(float(theirs.detach()), rel=1e-5)
    assert effective.grad is not None
    expected = square_adapters.matrices(task.tail, effective.grad)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-6)


def test_training_between_moves_r_alone_and_lowers_the_loss(task: Task) -> None:
    config = tiny.config(method="fed-sb", weight_lr=0.02, local_epochs=4)
    r, bases, head = np.zeros(RANK * RANK, np.float32), some_bases(task), head_of(task)
    at = {"round": 1, "client": 1}
    trained, loss = square_adapters.train_between(task, head, r, bases, [RANK], config, **at)
    _, first = square_adapters.first_gradient(task, head, config, **at)
    assert loss < first - 0.05
    assert np.abs(trained).max() > 0.02
    assert not r.any()
    np.testing.assert_array_equal(head, head_of(task))
    again, _ = square_adapters.train_between(task, head, r, bases, [RANK], config, **at)
    np.testing.assert_array_equal(again, trained)
