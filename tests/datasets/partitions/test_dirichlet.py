"""The Dirichlet split: laws that hold for any labels, and what its two ends mean."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltamask.datasets.partitions import label_counts
from deltamask.datasets.partitions.dirichlet import dirichlet_split

BALANCED = np.tile(np.arange(10), 600)  # 6,000 samples of 10 classes


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=300),
    st.integers(1, 40),
    st.integers(1, 20),
    st.sampled_from([1e-3, 0.01, 0.1, 1.0, 10.0, 1e4]),
    st.integers(0, 2**32 - 1),
)
def test_every_sample_goes_to_exactly_one_client_and_the_floor_holds(
    labels: list[int], clients: int, floor: int, alpha: float, seed: int
) -> None:
    floor = min(floor, len(labels) // clients)
    if floor == 0:
        clients, floor = len(labels), 1
    shards = dirichlet_split(np.array(labels), clients, alpha, floor, seed=seed)
    assert len(shards) == clients
    assert sorted(np.concatenate(shards).tolist()) == list(range(len(labels)))
    assert min(len(shard) for shard in shards) >= floor
    assert all((np.diff(shard) > 0).all() for shard in shards)


def test_the_split_depends_on_the_seed_and_nothing_else() -> None:
    first = dirichlet_split(BALANCED, 7, 0.5, 8, seed=4)
    np.random.default_rng().random()
    again = dirichlet_split(BALANCED.copy(), 7, 0.5, 8, seed=4)
    other = dirichlet_split(BALANCED, 7, 0.5, 8, seed=5)
    assert [shard.tolist() for shard in first] == [shard.tolist() for shard in again]
    assert [shard.tolist() for shard in first] != [shard.tolist() for shard in other]


@pytest.mark.parametrize("seed", range(3))
def test_large_alpha_is_nearly_iid(seed: int) -> None:
    counts = label_counts(BALANCED, dirichlet_split(BALANCED, 5, 1e4, 8, seed=seed), 10)
    assert np.abs(counts - 120).max() <= 12  # each client a fifth of each class


@pytest.mark.parametrize("seed", range(3))
def test_small_alpha_gives_each_class_to_one_client(seed: int) -> None:
    counts = label_counts(BALANCED, dirichlet_split(BALANCED, 5, 0.01, 8, seed=seed), 10)
    largest_share = counts.max(axis=0) / 600
    assert np.median(largest_share) > 0.95
    assert (counts.sum(axis=1) >= 8).all()


def test_skew_grows_as_alpha_falls() -> None:
    def skew(alpha: float) -> float:
        counts = [label_counts(BALANCED, dirichlet_split(BALANCED, 5, alpha, 8, seed=seed), 10) for seed in range(10)]
        return float(np.mean([table.max(axis=0) / 600 for table in counts]))

    alphas = [0.01, 0.1, 1.0, 10.0, 1e4]
    skews = [skew(alpha) for alpha in alphas]
    assert skews == sorted(skews, reverse=True)
    assert skews[-1] < 0.22


def test_label_counts_by_hand() -> None:
    shards = [np.array([0, 3]), np.array([1, 2, 4])]
    assert label_counts(np.array([0, 2, 2, 1, 0]), shards, 4).tolist() == [[1, 1, 0, 0], [1, 0, 2, 0]]


def test_too_few_samples_for_the_floor_says_so() -> None:
    with pytest.raises(ValueError, match="5 clients × 3 samples each is more than the 14 there are"):
        dirichlet_split(np.zeros(14, np.int64), 5, 1.0, 3, seed=0)
    exact = dirichlet_split(np.zeros(15, np.int64), 5, 0.1, 3, seed=0)
    assert [len(shard) for shard in exact] == [3] * 5


def test_ten_thousand_clients() -> None:
    labels = np.tile(np.arange(10), 6000)
    shards = dirichlet_split(labels, 10_000, 0.1, 4, seed=0)
    assert len(shards) == 10_000
    assert min(map(len, shards)) >= 4
    assert np.array_equal(np.sort(np.concatenate(shards)), np.arange(60_000))


RECORDED = {
    (5, 10.0, 8, 0): "41824a8e9c889be1",
    (30, 0.1, 8, 1): "d5501b82b78e1b87",
    (7, 1.0, 1, 2): "681c87b05d8d921f",
}


@pytest.mark.parametrize("asked", RECORDED)
def test_the_split_of_recorded_runs_stays_what_it_was(asked: tuple[int, float, int, int]) -> None:
    """These were made before there were other partitions. To change one would change what a resumed run trains on."""
    clients, alpha, floor, seed = asked
    labels = np.random.default_rng(0).integers(0, 10, 3000)
    shards = dirichlet_split(labels, clients, alpha, floor, seed=seed)
    digest = hashlib.sha256(b"|".join(shard.astype("<i8").tobytes() for shard in shards)).hexdigest()
    assert digest[:16] == RECORDED[asked]
