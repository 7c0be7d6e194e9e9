"""What a task is, and names that say what differs."""

from __future__ import annotations

import pytest

from deltamask.config import RunConfig
from deltamask.studies.labels import distinct_labels
from deltamask.studies.tasks import TASK_FIELDS, main_task, other_task, task_differences, task_of, task_words


@pytest.mark.parametrize(
    "changes",
    [
        {"backbone": "clip-vit-b32"}, {"weights": "random"}, {"masked_blocks": 2}, {"dataset": "digits"},
        {"train_samples": 5000}, {"test_samples": 500}, {"clients": 6}, {"rho": 0.5}, {"dirichlet_alpha": 0.1},
        {"partition": "shards"}, {"evaluate_on": "validation"}, {"image_size": 64}, {"min_client_samples": 9},
    ],
)  # fmt: skip
def test_another_task(changes: dict[str, object]) -> None:
    assert task_of(RunConfig(**changes)) != task_of(RunConfig())
    assert task_differences(RunConfig(**changes), RunConfig())[0] in {*changes, "dirichlet_alpha"}


def test_how_it_is_learnt_and_its_seed_are_no_part_of_the_task() -> None:
    other = RunConfig(method="fedpm", kappa=0.5, codec="gap", rounds=3, seed=4, lr=0.3, head_init="gram")
    assert task_of(other) == task_of(RunConfig())
    shards = RunConfig(partition="shards")
    assert task_of(shards) == task_of(shards.replace(dirichlet_alpha=0.1))  # shards read no α
    assert "α" not in task_words(shards)
    assert "α 0.1" in task_words(RunConfig(dirichlet_alpha=0.1))


def test_the_focus_decides_and_without_one_the_most() -> None:
    one, two = RunConfig(), RunConfig(dirichlet_alpha=0.1)
    assert other_task([one, two, two]) == [True, False, False]
    assert other_task([one, two, two], one) == [False, True, True]
    assert main_task([one, two]) == task_of(one)
    assert other_task([]) == []
    assert len(task_of(one)) == len(TASK_FIELDS)


def test_labels_say_what_differs_and_nothing_else() -> None:
    base = RunConfig(lr=0.7, rounds=3)
    assert distinct_labels([base]) == ["DeltaMask"]
    assert distinct_labels([base, base.replace(method="fedpm")]) == ["DeltaMask", "FedPM"]
    assert distinct_labels([base, base.replace(kappa=0.5)]) == ["DeltaMask, κ 1", "DeltaMask, κ 0.5"]
    assert distinct_labels([base, base.replace(seed=2)]) == ["DeltaMask, seed 0", "DeltaMask, seed 2"]
    unlike = base.replace(method="fedpm", dirichlet_alpha=0.1)
    assert distinct_labels([base, unlike]) == ["DeltaMask, α 10", "FedPM, α 0.1"]
    assert distinct_labels([base, base]) == ["DeltaMask", "DeltaMask"]
    three = [base, base.replace(kappa=0.5, lr=0.1), base.replace(kappa=0.5, lr=0.2)]
    assert len(set(distinct_labels(three))) == 3


def test_a_field_that_a_method_does_not_read_tells_nothing() -> None:
    configs = [RunConfig(method="linear-probe"), RunConfig(method="linear-probe", kappa=0.5)]
    assert distinct_labels(configs) == ["Linear probe", "Linear probe"]


def test_random_weights_are_always_said() -> None:
    assert distinct_labels([RunConfig(weights="random")]) == ["DeltaMask, random weights"]
