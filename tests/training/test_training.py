"""Local training against a plain reference, and evaluation by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from deltamask import methods
from deltamask.config import RunConfig
from deltamask.masking import noise
from deltamask.masking.masks import ONE, SCORE_CLIP, THETA_MAX, THETA_MIN, to_float
from deltamask.simulation.loop import simulate
from deltamask.task.task import Task, load_task
from deltamask.training import (
    Evaluation,
    batches,
    client_accuracy,
    evaluate,
    scheduled,
    split_head,
    train_head,
    train_scores,
)
from tests.support import tiny

CONFIG = tiny.config(lr=0.2, local_epochs=17)  # of 3 or 4 batches


@pytest.fixture(scope="module")
def task(tiny_cache: Path) -> Task:
    return load_task(CONFIG)


@pytest.fixture(scope="module")
def head(task: Task) -> np.ndarray:
    trained, _ = train_head(
        task, np.zeros(task.head_size, np.float32), CONFIG, epochs=CONFIG.probe_epochs, round=0, client=0
    )
    return trained


def thetas(task: Task) -> np.ndarray:
    """Probabilities of all sizes, as a server would broadcast them."""
    return np.random.default_rng(5).integers(THETA_MIN, THETA_MAX + 1, task.d).astype(np.uint16)


def with_weights(module: nn.Module, flat: Tensor) -> dict[str, Tensor]:
    """The module's maskable weights, taken layer by layer from a flat vector."""
    taken: dict[str, Tensor] = {}
    start = 0
    for name, part in module.named_modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            taken[f"{name}.weight"] = flat[start : start + part.weight.numel()].view(part.weight.shape)
            start += part.weight.numel()
    assert start == len(flat)
    return taken


def reference_scores(
    task: Task, head: np.ndarray, theta: np.ndarray, config: RunConfig, round: int, client: int
) -> tuple[Tensor, list[float]]:
    """Step 4 of the round as one would write it on a board: autograd does the straight-through estimator.

    Returns the scores and the loss of every step. The private mask words and the order of the samples are the ones of
    `train_scores`; everything else is written out anew.
    """
    module = tiny.build(config.masked_blocks).tail
    pretrained = torch.cat(
        [part.weight.flatten() for part in module.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
    )
    weight, bias = split_head(head, task)
    words = np.random.SFC64(noise.key(config.seed, "local mask", round=round, client=client))
    rng = noise.generator(config.seed, "batches", round=round, client=client)
    scores = nn.Parameter(torch.logit(torch.from_numpy(theta / ONE)).float())
    optimizer = torch.optim.Adam([scores], lr=config.lr, fused=False, foreach=False)
    losses = []
    for _ in range(config.local_epochs):
        shard = rng.permutation(task.shards[client])
        for start in range(0, len(shard), config.batch_size):
            index = torch.from_numpy(shard[start : start + config.batch_size])
            probability = torch.sigmoid(scores)
            uniform = torch.from_numpy(
                (words.random_raw(-(-task.d // 4)).view(np.int16)[: task.d].astype(np.float64) + ONE // 2) / ONE
            )
            hard = (uniform < probability.detach()).float()
            mask = hard + probability - probability.detach()  # straight through
            pooled = functional_call(module, with_weights(module, mask * pretrained), (task.train_x[index],))
            loss = functional.cross_entropy(pooled @ weight.T + bias, task.train_y[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                scores.clamp_(-SCORE_CLIP, SCORE_CLIP)
            losses.append(loss.item())
    return scores.detach(), losses


@pytest.mark.parametrize("start", ["fresh", "broadcast"])
def test_training_equals_the_plain_reference(task: Task, head: np.ndarray, start: str) -> None:
    """More than 50 steps. Half a unit of 2⁻¹⁶ is rounding; what is above it, the order of float32 sums."""
    theta = thetas(task) if start == "broadcast" else np.full(task.d, 62_259, np.uint16)
    scores, losses = reference_scores(task, head, theta, CONFIG, round=3, client=1)
    assert len(losses) >= 50
    trained = train_scores(task, head, theta, CONFIG, round=3, client=1)
    difference = np.abs(trained.theta / ONE - torch.sigmoid(scores.double()).numpy())
    moved = np.abs(to_float(theta) - trained.theta / ONE)
    assert moved.mean() > 0.05  # there was something to agree on
    assert np.quantile(difference, 0.99) < 0.6 / ONE
    assert difference.max() < 4 / ONE
    steps = math.ceil(len(task.shards[1]) / CONFIG.batch_size)
    assert trained.loss == pytest.approx(np.mean(losses[-steps:]), rel=1e-4)


def test_training_lowers_the_loss(task: Task, head: np.ndarray) -> None:
    theta = np.full(task.d, 62_259, np.uint16)
    short = train_scores(task, head, theta, CONFIG.replace(local_epochs=1), round=1, client=2)
    long = train_scores(task, head, theta, CONFIG.replace(local_epochs=30), round=1, client=2)
    assert long.loss < 0.8 * short.loss


def test_training_depends_on_its_keys_only(task: Task, head: np.ndarray) -> None:
    config = CONFIG.replace(local_epochs=1)
    theta = thetas(task)

    def result(round: int = 1, client: int = 0, seed: int = 0) -> bytes:
        trained = train_scores(task, head, theta, config.replace(seed=seed), round=round, client=client)
        return trained.theta.tobytes()

    before = theta.copy()
    first = result()
    torch.rand(3)
    np.random.default_rng().random(3)
    train_scores(task, head, theta[::-1].copy(), config, round=9, client=3)  # leaves nothing behind in the task
    assert result() == first
    assert len({first, result(round=2), result(client=1), result(seed=1)}) == 4
    np.testing.assert_array_equal(theta, before)


def test_scores_stay_in_the_clip(task: Task, head: np.ndarray) -> None:
    trained = train_scores(task, head, thetas(task), CONFIG.replace(lr=10.0, local_epochs=2), round=1, client=0)
    assert trained.theta.min() == THETA_MIN
    assert trained.theta.max() == THETA_MAX


@pytest.mark.parametrize("shard", ["one sample", "one class"])
def test_a_poor_shard_still_trains(task: Task, head: np.ndarray, shard: str) -> None:
    one_class = np.flatnonzero(task.train_y.numpy() == 3)
    poor = replace(task, shards=[one_class[:1] if shard == "one sample" else one_class, *task.shards[1:]])
    theta = thetas(task)
    trained = train_scores(poor, head, theta, CONFIG, round=1, client=0)
    assert math.isfinite(trained.loss)
    assert (trained.theta != theta).mean() > 0.1
    assert THETA_MIN <= trained.theta.min() <= trained.theta.max() <= THETA_MAX
    new_head, loss = train_head(poor, head, CONFIG, epochs=30, round=0, client=0)
    assert np.isfinite(new_head).all()
    assert loss < 0.5  # one class is soon learnt


def with_nan_features(task: Task, client: int) -> Task:
    features = task.train_x.clone()
    features[task.shards[client][0]] = torch.nan
    return replace(task, train_x=features)


def test_nan_features_raise(task: Task, head: np.ndarray) -> None:
    with pytest.raises(FloatingPointError, match="no longer finite"):
        train_scores(with_nan_features(task, 1), head, thetas(task), CONFIG, round=1, client=1)


@pytest.mark.parametrize("method", [name for name in methods.names() if methods.get(name).sends != "nothing"])
def test_a_round_goes_on_without_the_client_that_diverged(task: Task, method: str) -> None:
    config = tiny.config(method=method, rounds=1)
    sick = with_nan_features(task, 1)
    for record in simulate(config, task=sick):
        dropped = {client.client: client.dropped for client in record.clients}
        assert dropped.keys() == {0, 1, 2, 3}
        assert [client for client, why in dropped.items() if why] == [1]
        assert "finite" in str(dropped[1]) or "NaN" in str(dropped[1])
        assert math.isfinite(record.loss)
        assert record.accuracy > 0.2
        assert record.uplink_bytes == sum(client.uplink_bytes for client in record.clients)


# Evaluation


def test_evaluation_by_hand(task: Task, head: np.ndarray) -> None:
    effective = task.tail.weights * torch.from_numpy(to_float(thetas(task)))
    got = evaluate(task, effective, head)
    weight, bias = split_head(head, task)
    module = tiny.build(1).tail
    with torch.no_grad():
        logits = functional_call(module, with_weights(module, effective), (task.test_x,)) @ weight.T + bias
    labels = task.test_y.tolist()
    hits = [int(row.argmax()) == label for row, label in zip(logits, labels, strict=True)]
    assert got.accuracy == pytest.approx(sum(hits) / len(hits))
    log_likelihoods = [float(row.log_softmax(0)[label]) for row, label in zip(logits, labels, strict=True)]
    assert got.loss == pytest.approx(-np.mean(log_likelihoods), rel=1e-4)
    for digit in range(10):
        of_class = [hit for hit, label in zip(hits, labels, strict=True) if label == digit]
        assert got.class_accuracy[digit] == pytest.approx(np.mean(of_class))


def test_a_class_without_test_images_has_no_accuracy(task: Task, head: np.ndarray) -> None:
    chosen = task.test_y != 7
    got = evaluate(replace(task, test_x=task.test_x[chosen], test_y=task.test_y[chosen]), task.tail.weights, head)
    assert np.isnan(got.class_accuracy).tolist() == [digit == 7 for digit in range(10)]
    assert math.isfinite(got.accuracy)


def test_client_accuracy_by_hand() -> None:
    evaluation = Evaluation(0.7, 1.0, np.array([0.5, 1.0, np.nan]))
    assert client_accuracy(evaluation, np.array([2, 6, 0])) == pytest.approx((2 * 0.5 + 6 * 1.0) / 8)
    assert client_accuracy(evaluation, np.array([1, 1, 98])) == pytest.approx(0.75)  # what is not tested has no weight
    assert client_accuracy(evaluation, np.array([0, 0, 5])) == 0.7
    assert client_accuracy(evaluation, np.array([4, 0, 0])) == 0.5


# The small parts


def test_schedules_by_hand() -> None:
    assert [scheduled(0.4, "constant", round, 10) for round in (1, 10)] == [0.4, 0.4]
    assert scheduled(0.4, "cosine", 1, 10) == 0.4
    assert scheduled(0.4, "cosine", 6, 10) == pytest.approx(0.2)
    values = [scheduled(0.4, "cosine", round, 10) for round in range(1, 11)]
    assert values == sorted(values, reverse=True)
    assert values[-1] == pytest.approx(0.2 * (1 + math.cos(0.9 * math.pi)))
    assert values[-1] > 0


def test_lr_follows_its_schedule(task: Task, head: np.ndarray) -> None:
    config = CONFIG.replace(local_epochs=1, rounds=10, lr_schedule="cosine")
    theta = thetas(task)

    def movement(round: int) -> float:
        trained = train_scores(task, head, theta, config, round=round, client=0)
        return float(np.abs(trained.theta.astype(np.int64) - theta).mean())

    assert movement(10) < 0.1 * movement(1)


def test_batches_visit_every_sample_once_an_epoch() -> None:
    shard = np.arange(100, 110)
    got = list(batches(shard, 4, 2, np.random.default_rng(0)))
    assert [len(batch) for batch in got] == [4, 4, 2, 4, 4, 2]
    first, second = torch.cat(got[:3]).tolist(), torch.cat(got[3:]).tolist()
    assert sorted(first) == sorted(second) == shard.tolist()
    assert first != second


def test_the_head_vector_is_weights_then_biases(task: Task) -> None:
    flat = np.arange(task.head_size, dtype=np.float32)
    weight, bias = split_head(flat, task)
    assert weight.shape == (10, tiny.FEATURES)
    assert weight[1, 0] == tiny.FEATURES
    assert bias.tolist() == list(range(10 * tiny.FEATURES, 10 * tiny.FEATURES + 10))
    weight += 1
    assert flat[0] == 0
