"""Accuracy for a client that knows its own label shares, against a readable reference."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deltamask.task.task import Task, load_task
from deltamask.training import client_accuracy, evaluate, evaluation, split_head
from deltamask.training.losses import SMALLEST_SHARE
from tests.support import tiny


@pytest.fixture(scope="module")
def task(tiny_cache: Path) -> Task:
    return load_task(tiny.config(dirichlet_alpha=0.1, clients=8))


@pytest.fixture(scope="module")
def head(task: Task) -> np.ndarray:
    return np.random.default_rng(3).normal(0, 0.3, task.head_size).astype(np.float32)


def by_hand(task: Task, head: np.ndarray, client: int) -> float:
    """argmax of logits + log p_k, image by image; each image counts by its class's share at the client."""
    weight, bias = split_head(head, task)
    logits = (task.pooled(task.test_x, task.tail.weights) @ weight.T + bias).tolist()
    labels, counts = task.test_y.tolist(), task.label_counts[client].tolist()
    shares = [max(count / sum(counts), SMALLEST_SHARE) for count in counts]
    tested = sum(counts[label] for label in set(labels))
    total = 0.0
    for row, label in zip(logits, labels, strict=True):
        shifted = [logit + math.log(share) for logit, share in zip(row, shares, strict=True)]
        if shifted.index(max(shifted)) == label:
            total += counts[label] / tested / labels.count(label)
    return total


def test_it_is_the_argmax_with_log_shares(task: Task, head: np.ndarray) -> None:
    measured = evaluate(task, task.tail.weights, head, adapted=True)
    assert measured.adapted is not None
    assert (task.label_counts == 0).any()
    expected = [by_hand(task, head, client) for client in range(8)]
    assert measured.adapted.tolist() == pytest.approx(expected)
    plain = [client_accuracy(measured, counts) for counts in task.label_counts]
    assert np.mean(expected) > np.mean(plain) + 0.1  # to know one's classes helps
    assert evaluate(task, task.tail.weights, head).adapted is None


def test_few_clients_at_a_time_give_the_same(task: Task, head: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evaluate(task, task.tail.weights, head, adapted=True).adapted
    monkeypatch.setattr(evaluation, "ADAPTED_NUMBERS", 3 * 200 * 10)  # three clients, then three, then two
    np.testing.assert_array_equal(evaluate(task, task.tail.weights, head, adapted=True).adapted, whole)
    monkeypatch.setattr(evaluation, "ADAPTED_CLIENTS", 7)
    assert evaluate(task, task.tail.weights, head, adapted=True).adapted is None


def test_a_client_of_one_class_is_always_right_about_it(task: Task, head: np.ndarray) -> None:
    only = np.flatnonzero(task.train_y.numpy() == 3)
    one = replace(task, shards=[only, *task.shards[1:]])
    adapted = evaluate(one, task.tail.weights, head, adapted=True).adapted
    assert adapted is not None
    assert adapted[0] == 1


def test_what_is_not_tested_counts_as_in_the_plain_accuracy(task: Task, head: np.ndarray) -> None:
    """A client of whose classes there are no test images has the accuracy on all of them."""
    labels = task.train_y.numpy()
    chosen = task.test_y != 3
    shards = [np.flatnonzero(labels == 3), np.flatnonzero((labels == 3) | (labels == 4)), *task.shards[2:]]
    some = replace(task, test_x=task.test_x[chosen], test_y=task.test_y[chosen], shards=shards)
    measured = evaluate(some, task.tail.weights, head, adapted=True)
    assert measured.adapted is not None
    assert measured.adapted[0] == client_accuracy(measured, some.label_counts[0]) == measured.accuracy
    assert measured.adapted.tolist()[1:] == pytest.approx([by_hand(some, head, client) for client in range(1, 8)])
    assert torch.isnan(torch.tensor(measured.class_accuracy)).tolist() == [digit == 3 for digit in range(10)]
