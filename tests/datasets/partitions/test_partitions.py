"""Laws that hold for every registered partition, and what each of them means."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from deltamask.config import RunConfig, explain_errors
from deltamask.datasets import Groups
from deltamask.datasets.partitions import Shards, label_counts, names, partitions, split
from deltamask.datasets.partitions.quantity import sizes

BALANCED = np.tile(np.arange(10), 600)  # 6,000 samples of 10 classes
PEOPLE = Groups(("anna", "ben", "cleo"), np.repeat([1, 0, 2], [3000, 2000, 1000]))


def config(partition: str, clients: int = 5, **changes: Any) -> RunConfig:
    """A config with this partition, for as many samples as there are."""
    fields: dict[str, Any] = {
        "partition": partition, "clients": clients, "dirichlet_alpha": 0.5, "seed": 3, "dataset": "digits",
        "train_samples": 10_000_000,
    }  # fmt: skip
    return RunConfig(**(fields | changes))


def same(left: Shards, right: Shards) -> bool:
    return [shard.tolist() for shard in left] == [shard.tolist() for shard in right]


@pytest.mark.parametrize("name", names())
@given(
    labels=st.lists(st.integers(0, 5), min_size=1, max_size=200),
    clients=st.integers(1, 30),
    floor=st.integers(1, 12),
    seed=st.integers(0, 2**32 - 1),
    each=st.integers(1, 4),
    exponent=st.sampled_from([0.0, 0.5, 1.0, 3.0]),
    alpha=st.sampled_from([0.01, 1.0, 100.0]),
    people=st.integers(1, 6),
)
def test_every_sample_goes_to_exactly_one_client_and_the_floor_holds(
    name: str, labels: list[int], clients: int, floor: int, seed: int, each: int, exponent: float, alpha: float,
    people: int,
) -> None:  # fmt: skip
    """Or the split is refused, where it cannot be made."""
    groups = Groups(tuple(f"person {at}" for at in range(people)), np.arange(len(labels)) * people // len(labels))
    asked = config(
        name, clients, min_client_samples=floor, seed=seed, shards_per_client=each, size_exponent=exponent,
        dirichlet_alpha=alpha,
    )  # fmt: skip
    try:
        shards = split(asked, np.array(labels), groups)
    except ValueError:
        least = max(floor, each) if name == "shards" else floor
        possible = clients * least <= len(labels) and not partitions[name].natural  # which moves no sample
        assert not possible
        return
    assert len(shards) == clients
    assert sorted(np.concatenate(shards).tolist()) == list(range(len(labels)))
    assert min(len(shard) for shard in shards) >= floor
    assert all((np.diff(shard) > 0).all() for shard in shards)


@pytest.mark.parametrize("name", names())
def test_the_split_depends_on_the_seed_and_nothing_else(name: str) -> None:
    first = split(config(name), BALANCED, PEOPLE)
    np.random.default_rng().random()
    assert same(first, split(config(name), BALANCED.copy(), PEOPLE))
    assert not same(first, split(config(name, seed=4), BALANCED, PEOPLE))


@pytest.mark.parametrize("name", names())
def test_it_reads_what_it_says_it_reads(name: str) -> None:
    """A form shows the fields that a partition reads: a change of one changes the split, of another it does not."""
    first = split(config(name), BALANCED, PEOPLE)
    for field, value in {"dirichlet_alpha": 0.05, "shards_per_client": 3, "size_exponent": 2.0}.items():
        changed = split(config(name, **{field: value}), BALANCED, PEOPLE)
        assert same(first, changed) is (field not in partitions[name].reads), field


@pytest.mark.parametrize("name", names())
def test_it_says_what_it_is(name: str) -> None:
    entry = partitions[name]
    assert entry.label
    assert entry.about.endswith(".")
    assert "\n" not in entry.about
    assert set(entry.reads) <= RunConfig.model_fields.keys()


def test_a_config_without_the_field_means_dirichlet() -> None:
    stored = {name: value for name, value in RunConfig(clients=5).model_dump().items() if name != "partition"}
    asked = config("dirichlet", dirichlet_alpha=10.0, seed=0)
    assert same(split(RunConfig(**stored), BALANCED), split(asked, BALANCED))


def test_an_unknown_partition_is_answered_with_those_that_exist() -> None:
    with pytest.raises(ValidationError) as caught:
        config("alphabetical")
    assert explain_errors(caught.value) == [f"partition = 'alphabetical' is out of range: one of: {', '.join(names())}"]


def test_ten_thousand_clients_of_each_kind() -> None:
    labels = np.tile(np.arange(10), 6000)
    people = Groups(tuple(map(str, range(100))), np.repeat(np.arange(100), 600))
    for name in names():
        shards = split(config(name, 10_000, min_client_samples=2), labels, people)
        assert np.array_equal(np.sort(np.concatenate(shards)), np.arange(60_000)), name


# shards


@pytest.mark.parametrize("each", [1, 2, 3])
def test_a_client_holds_k_classes_and_as_much_as_the_others(each: int) -> None:
    shards = split(config("shards", 20, shards_per_client=each), BALANCED)
    classes = np.count_nonzero(label_counts(BALANCED, shards, 10), axis=1)
    assert classes.max() <= 2 * each  # a piece may reach over a border
    assert classes.mean() <= each + 0.6
    assert {len(shard) for shard in shards} == {300}


def test_pieces_of_whole_classes_give_whole_classes() -> None:
    counts = label_counts(BALANCED, split(config("shards", 10, shards_per_client=1), BALANCED), 10)
    assert sorted(counts.argmax(axis=1).tolist()) == list(range(10))
    assert np.count_nonzero(counts) == 10


def test_more_pieces_than_samples_are_refused() -> None:
    with pytest.raises(ValueError, match=r"clients × shards_per_client = 5 × 4 = 20 pieces is more than the 19"):
        split(config("shards", 5, shards_per_client=4, min_client_samples=1), np.zeros(19, np.int64))


def test_uneven_pieces_are_topped_up_to_the_floor() -> None:
    for seed in range(20):
        shards = split(config("shards", 5, min_client_samples=3, seed=seed), np.arange(15) % 3)
        assert [len(shard) for shard in shards] == [3] * 5


# quantity


def test_sizes_by_hand() -> None:
    assert sizes(220 + 4 * 5, 4, 1.0, 5).tolist() == [5 + 106, 5 + 53, 5 + 35, 5 + 26]  # 105.6, 52.8, 35.2, 26.4
    assert sizes(12, 4, 0.0, 1).tolist() == [3, 3, 3, 3]
    assert sizes(4, 4, 2.0, 1).tolist() == [1, 1, 1, 1]


def test_sizes_differ_and_labels_do_not() -> None:
    shards = split(config("quantity", 5), BALANCED)
    assert sorted((len(shard) for shard in shards), reverse=True) == sizes(6000, 5, 1.0, 8).tolist()
    counts = label_counts(BALANCED, shards, 10)
    shares = counts / counts.sum(axis=1, keepdims=True)
    assert np.abs(shares - 0.1).max() < 0.05


def test_which_client_is_the_largest_is_drawn() -> None:
    seeds = [split(config("quantity", 5, seed=seed), BALANCED) for seed in range(9)]
    assert len({int(np.argmax([len(shard) for shard in shards])) for shards in seeds}) > 1


# natural


def test_as_many_clients_as_groups_are_the_groups() -> None:
    shards = split(config("natural", 3), BALANCED, PEOPLE)
    assert [np.unique(PEOPLE.of[shard]).tolist() for shard in shards] == [[0], [1], [2]]


def test_fewer_clients_hold_whole_groups() -> None:
    shards = split(config("natural", 2), BALANCED, PEOPLE)
    assert [np.unique(PEOPLE.of[shard]).tolist() for shard in shards] == [[1], [0, 2]]  # 3,000 against 2,000 + 1,000


def test_more_clients_share_a_group_and_never_two() -> None:
    shards = split(config("natural", 12), BALANCED, PEOPLE)
    of = [np.unique(PEOPLE.of[shard]).tolist() for shard in shards]
    assert of == [[0]] * 4 + [[1]] * 6 + [[2]] * 2  # 2,000, 3,000 and 1,000 samples
    skewed = split(config("natural", 12, dirichlet_alpha=0.01), BALANCED, PEOPLE)
    anna = label_counts(BALANCED, skewed, 10)[:4]  # 200 of each class, dealt out as `dirichlet` does
    assert np.median(anna.max(axis=0)) > 190


def test_a_group_is_shared_among_no_more_clients_than_it_can_feed() -> None:
    """15 samples have room for one client of 8, though after the first two steps they are most a client."""
    shards = split(config("natural", 4), BALANCED[:39], Groups(("anna", "ben"), np.repeat([0, 1], [15, 24])))
    assert [len(shard) for shard in shards] == [15, 8, 8, 8]


def test_a_dataset_without_groups_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"'natural' needs a dataset with clients of its own, and 'digits' has none"):
        split(config("natural"), BALANCED)


def test_a_group_below_the_floor_is_named_and_nothing_is_moved_into_it() -> None:
    few = Groups(("anna", "ben"), np.repeat([0, 1], [95, 5]))
    with pytest.raises(ValueError, match=r"ben would be a client with 5 of the 100 samples.*min_client_samples = 8"):
        split(config("natural", 2), BALANCED[:100], few)
    with pytest.raises(ValueError, match=r"ben has 5 samples, and min_client_samples = 8"):
        split(config("natural", 4), BALANCED[:100], few)
    with pytest.raises(ValueError, match=r"clients = 12, and the groups have room for 11"):
        split(config("natural", 12), BALANCED[:100], Groups(("anna", "ben"), np.repeat([0, 1], [87, 13])))
