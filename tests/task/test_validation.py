"""`evaluate_on = "validation"`: settings are chosen without touching a test image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deltamask import datasets, simulate
from deltamask.datasets import DatasetError
from deltamask.methods import methods
from deltamask.task.task import load_task
from deltamask.training import client_accuracy, evaluate
from tests.support import tiny
from tests.support.tiny import Witness, timeless


def test_it_measures_on_the_training_images_that_follow_and_trains_on_the_same(tiny_cache: Path) -> None:
    held_out, usual = load_task(tiny.config(evaluate_on="validation")), load_task(tiny.config())
    assert torch.equal(held_out.train_x, usual.train_x)
    assert torch.equal(held_out.train_y, usual.train_y)
    for ours, theirs in zip(held_out.shards, usual.shards, strict=True):
        np.testing.assert_array_equal(ours, theirs)

    longer = load_task(tiny.config(train_samples=600))
    assert torch.equal(held_out.test_x, longer.train_x[400:])
    assert torch.equal(held_out.test_y, longer.train_y[400:])
    assert len(held_out.test_x) == 200


def test_no_test_image_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No feature of the test split is computed, and other test images change nothing; with `test` they do."""
    monkeypatch.setenv("DELTAMASK_CACHE", str(tmp_path))
    config = tiny.config(rounds=1, train_samples=300, probe_epochs=5)
    digits = datasets.load("digits")
    other = replace(digits, test_x=255 - digits.test_x, test_y=(digits.test_y + 1) % 10)

    def records(evaluate_on: str, data: datasets.ImageDataset) -> list[dict[str, object]]:
        monkeypatch.setattr(datasets, "load", lambda name: data)
        return [timeless(record) for record in simulate(config.replace(evaluate_on=evaluate_on))]

    blind = records("validation", digits)
    assert blind == records("validation", other)
    assert [path.name for path in tmp_path.rglob("*") if path.name.startswith("test")] == []
    assert records("test", digits) != records("test", other)
    assert [path for path in tmp_path.rglob("*") if path.name.startswith("test")]  # where its features are kept


def test_the_last_training_images_are_all_it_can_hold_out(tiny_cache: Path) -> None:
    there = len(datasets.load("digits").train_x)
    assert len(load_task(tiny.config(train_samples=there - 30, evaluate_on="validation")).test_y) == 30
    with pytest.raises(DatasetError, match=rf"train_samples = {there}, and digits has {there} in all: lower"):
        load_task(tiny.config(train_samples=there, evaluate_on="validation"))


def test_worst_client_and_spread_count_clients_that_were_not_sampled(tiny_cache: Path) -> None:
    config = tiny.config(method="linear-probe", rounds=1, rho=0.25, dirichlet_alpha=0.3)
    task = load_task(config)
    record = list(simulate(config, task=task))[-1]
    assert len(record.clients) == 1

    witness = Witness()
    list(simulate(config, task=task, observer=witness))
    round, state, _ = witness.checkpoints[-1]
    ((_, weights),) = methods["linear-probe"].effective(task, config, state, round)
    measured = evaluate(task, weights, state.head)
    of_all = [client_accuracy(measured, counts) for counts in task.label_counts]
    assert len(of_all) == 4
    assert record.accuracy_worst == min(of_all) < record.clients[0].accuracy
    assert record.accuracy_spread == pytest.approx(np.sqrt(np.mean((np.array(of_all) - np.mean(of_all)) ** 2)))
