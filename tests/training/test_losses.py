"""Balanced softmax as the clients' loss."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from deltamask.simulation.loop import simulate
from deltamask.task.task import Task, load_task
from deltamask.training import local_loss
from deltamask.training.losses import SMALLEST_SHARE
from tests.support import tiny
from tests.support.tiny import timeless


@pytest.fixture(scope="module")
def task(tiny_cache: Path) -> Task:
    return load_task(tiny.config(dirichlet_alpha=0.1))


def test_shares_are_added_to_the_logits(task: Task) -> None:
    counts = task.label_counts[1]
    shares = np.maximum(counts / counts.sum(), SMALLEST_SHARE)
    assert (counts == 0).any()
    logits, labels = torch.randn(50, 10), torch.from_numpy(np.random.default_rng(0).choice(10, 50))
    for tau in (0.5, 1.0):
        loss = local_loss(task, tiny.config(local_loss="balanced", balance_tau=tau), 1)
        weights = shares**tau * np.exp(logits.double().numpy())
        by_hand = -np.log(weights[np.arange(50), labels] / weights.sum(1)).mean()
        assert float(loss(logits, labels)) == pytest.approx(by_hand, rel=1e-5)
    plain = local_loss(task, tiny.config(), 1)
    assert plain is functional.cross_entropy
    nothing_added = local_loss(task, tiny.config(local_loss="balanced", balance_tau=0.0), 1)
    assert torch.equal(nothing_added(logits, labels), plain(logits, labels))


def test_client_of_one_class_has_next_to_nothing_to_learn(task: Task) -> None:
    """With plain cross-entropy it pushes all other classes down."""
    only = np.flatnonzero(task.train_y.numpy() == 3)
    alone = replace(task, shards=[only, *task.shards[1:]])
    labels = torch.full((20,), 3)
    sizes = {}
    for name in ("cross_entropy", "balanced"):
        logits = torch.randn(20, 10, generator=torch.Generator().manual_seed(1)).requires_grad_(True)
        local_loss(alone, tiny.config(local_loss=name), 0)(logits, labels).backward()
        assert logits.grad is not None
        sizes[name] = float(logits.grad.abs().max())
    assert sizes["balanced"] < 1e-3 * sizes["cross_entropy"]


@pytest.mark.parametrize("method", ["deltamask", "fedmask", "finetune", "lora", "linear-probe"])
def test_every_method_that_trains_reads_it(task: Task, method: str) -> None:
    config = tiny.config(method=method, rounds=1, dirichlet_alpha=0.1)
    plain, balanced = (
        [timeless(record) for record in simulate(config.replace(local_loss=loss), task=task)]
        for loss in ("cross_entropy", "balanced")
    )
    assert plain[0] != balanced[0]  # the probing round trains under it as well
    fixed = config.replace(head_init="gram")
    first, second = (
        [timeless(record) for record in simulate(fixed.replace(local_loss=loss), task=task)]
        for loss in ("cross_entropy", "balanced")
    )
    assert first[0] == second[0]
    assert first[1] != second[1]
