"""How far one liar moves the server, by hand and against NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from deltamask.codecs import DecodeError
from deltamask.config import RunConfig
from deltamask.masking.masks import ONE, THETA_MAX, THETA_MIN
from deltamask.methods import robust
from deltamask.methods.base import Receipt
from deltamask.simulation.loop import simulate
from deltamask.task.task import Task, load_task
from tests.support import tiny
from tests.support.tiny import Witness, timeless

HONEST = np.random.default_rng(0).normal(1, 0.1, (9, 50)).astype(np.float32)
SAMPLES = np.full(10, 7)


@pytest.fixture(scope="module")
def task(tiny_cache: Path) -> Task:
    return load_task(tiny.config())


def payloads(count: int) -> Iterator[tuple[int, bytes]]:
    return ((client, bytes([client])) for client in range(count))


def averaged(config: RunConfig, vectors: np.ndarray, samples: np.ndarray = SAMPLES) -> np.ndarray:
    receipts: list[Receipt] = []

    def decode(client: int, payload: bytes) -> np.ndarray:
        if payload == b"\xff":
            raise DecodeError("no")
        return vectors[payload[0]].copy()

    arrived = [*payloads(len(vectors)), (9, b"\xff")]
    total, weight = robust.average(config, samples, iter(arrived), decode, receipts.append)
    assert [receipt.client for receipt in receipts if receipt.dropped] == [9]
    assert len(receipts) == len(vectors) + 1
    return total / weight


@pytest.mark.parametrize("how", ["clip", "trimmed", "median"])
@pytest.mark.parametrize("factor", [-10.0, 1000.0, 1e30])
def test_a_boosted_vector_moves_the_average_by_little(how: str, factor: float) -> None:
    lying = HONEST.copy()
    lying[4] *= np.float32(factor)
    honest = HONEST.mean(0)
    moved = np.abs(averaged(RunConfig(robust=how, clients=10), lying) - honest).max()
    assert moved < (0.35 if how == "clip" else 0.15)
    assert np.abs(averaged(RunConfig(clients=10), lying) - honest).max() > 1


def test_without_protection_it_is_the_weighted_mean_and_clipping_cuts_pulls_to_the_median() -> None:
    samples = np.arange(10) + 5
    exact = HONEST.astype(np.float64)
    expected = np.average(exact, axis=0, weights=samples[:9])
    np.testing.assert_allclose(averaged(RunConfig(clients=10), HONEST, samples), expected, rtol=1e-6)
    weight = np.minimum(samples, 2 * np.median(samples))[:9]
    pulls = weight * np.linalg.norm(exact, axis=1)
    scale = np.minimum(1, np.median(pulls) / pulls)
    expected = np.average(exact * scale[:, None], axis=0, weights=weight)
    np.testing.assert_allclose(averaged(RunConfig(robust="clip", clients=10), HONEST, samples), expected, rtol=1e-5)


def test_a_liar_of_five_with_a_large_claim_does_not_turn_the_average_round() -> None:
    vectors, samples = HONEST[:5].copy(), np.array([100, 100, 100, 100, 10**5])
    vectors[4] *= -10
    found = averaged(RunConfig(robust="clip", clients=5), vectors, np.append(samples, [0] * 5))
    assert found @ HONEST.mean(0) / np.linalg.norm(HONEST.mean(0)) ** 2 > 0.4


def test_trimmed_and_median_are_numpys() -> None:
    config = RunConfig(clients=10)
    ordered = np.sort(HONEST, axis=0)
    found = averaged(config.replace(robust="trimmed"), HONEST)
    np.testing.assert_allclose(found, ordered[1:-1].mean(0), rtol=1e-6)  # a fifth of nine, rounded down
    np.testing.assert_allclose(averaged(config.replace(robust="median"), HONEST), np.median(HONEST, axis=0), rtol=1e-6)


def test_of_many_clients_few_vectors_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine vectors in three places: means of three stand for them."""
    monkeypatch.setattr(robust, "HELD", 3)
    config = RunConfig(robust="median", clients=9)
    expected = np.median(HONEST.reshape(3, 3, 50).mean(1), axis=0)
    np.testing.assert_allclose(averaged(config, HONEST), expected, rtol=1e-5)


def test_a_claim_of_many_samples_counts_twice_the_median() -> None:
    samples = np.array([100, 110, 90, 100, 10**6, 0])
    assert robust.weights(RunConfig(robust="clip"), samples).tolist() == [100, 110, 90, 100, 200, 0]
    assert robust.weights(RunConfig(), samples).tolist() == samples.tolist()


def test_of_a_set_that_is_too_large_a_random_part_stays() -> None:
    sizes = {0: 100, 1: 110, 2: 90, 3: 5000}
    position_costs = np.random.default_rng(1).permutation(5000) / 5000

    def decode(client: int, payload: bytes) -> np.ndarray:
        return np.arange(sizes[client])

    def cost(client: int, positions: np.ndarray) -> np.ndarray:
        return position_costs[positions]

    arrived, within = robust.clipped(RunConfig(robust="clip"), 3, payloads(4), decode, cost)
    kept = {client: within(client, payload) for client, payload in arrived}
    assert [len(kept[client]) for client in (0, 1, 2)] == [100, 110, 90]
    assert 100 < len(kept[3]) < 250
    assert (np.diff(kept[3]) > 0).all()
    assert position_costs[kept[3]].sum() < 3 * position_costs[:100].sum()
    assert kept[3].min() < 1500 < 3500 < kept[3].max()


def test_costs_are_those_of_the_least_move_and_of_the_unlikely_bit() -> None:
    theta = np.array([ONE // 2, ONE // 2, THETA_MAX], np.uint16)
    u = np.array([ONE // 2, THETA_MIN, 0], np.uint16)
    costs = robust.cost_of_flips(theta, u, np.arange(3))
    assert costs[0] == 0
    assert 0 < costs[1] < costs[2] < np.inf
    assert robust.surprise(theta, np.arange(3)).tolist() == pytest.approx([0, 0, 6], abs=1e-3)


@pytest.mark.parametrize("method", ["deltamask", "fedpm", "finetune"])
def test_an_honest_run_hardly_changes(method: str, task: Task) -> None:
    config = tiny.config(method=method, rounds=3, lr=0.3, codec="gap")
    plain, protected = (
        [record.accuracy for record in simulate(config.replace(robust=how), task=task)] for how in ("none", "clip")
    )
    assert abs(plain[-1] - protected[-1]) <= 0.03


@pytest.mark.parametrize("head", ["ncm", "gram"])
def test_negated_statistics_are_refused_and_honest_ones_are_not(head: str, task: Task) -> None:
    config = tiny.config(method="head-only", head_init=head, rounds=1, robust="clip")
    honest = next(iter(simulate(config, task=task)))
    assert [line.dropped for line in honest.clients] == [None] * 4
    for attack in ("head-flip", "lying-counts", "label-flip"):
        record = next(iter(simulate(config.replace(attack=attack), task=task)))
        (lost,) = [line.dropped for line in record.clients if line.dropped]
        assert "times" in lost
        assert abs(record.accuracy - honest.accuracy) < 0.1


def test_a_protected_run_goes_on_from_a_checkpoint(task: Task) -> None:
    config = tiny.config(rounds=3, codec="gap", robust="clip", check_flips="on", attack="zero-mask", lr=0.3)
    whole = Witness()
    list(simulate(config, task=task, observer=whole))
    rest = list(simulate(config, task=task, start=whole.checkpoints[1]))
    assert [timeless(record) for record in rest] == [timeless(record) for record in whole.records[2:]]
