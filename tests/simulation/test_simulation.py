"""The loop: who takes part, and that it can stop and go on anywhere with the same results."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from deltamask import methods
from deltamask.config import RunConfig
from deltamask.simulation.loop import sampled_clients, simulate
from deltamask.task.task import Task, load_task
from tests.support import tiny
from tests.support.tiny import Witness, assert_same_state, timeless

VARIANTS: list[dict[str, Any]] = [{"method": name} for name in methods.names()]
VARIANTS += [{"aggregation": "unbiased", "noise": "shared", "kappa": 0.5, "kappa_schedule": "cosine"}]


@pytest.fixture(scope="module")
def task(tiny_cache: Path) -> Task:
    return load_task(tiny.config())


def play(config: RunConfig, task: Task, **options: Any) -> Witness:
    witness = Witness()
    yielded = list(simulate(config, task=task, observer=witness, **options))
    assert yielded == witness.records
    return witness


@pytest.mark.parametrize("changes", VARIANTS, ids=lambda changes: "-".join(map(str, changes.values())))
def test_a_run_goes_on_from_any_checkpoint_as_if_never_stopped(task: Task, changes: dict[str, Any]) -> None:
    config = tiny.config(rounds=4, rho=0.5, lr_schedule="cosine", **changes)
    whole = play(config, task)
    assert [checkpoint.round for checkpoint in whole.checkpoints] == [0, 1, 2, 3, 4]
    kept = copy.deepcopy(whole.checkpoints)
    for stop in range(5):
        rest = play(config, task, start=whole.checkpoints[stop])
        assert [timeless(record) for record in rest.records] == [
            timeless(record) for record in whole.records[stop + 1 :]
        ]
        if rest.checkpoints:
            assert_same_state(rest.checkpoints[-1].state, whole.checkpoints[-1].state)
        for (round, client), payload in rest.payloads.items():
            assert payload == whole.payloads[round, client]
    for checkpoint, copied in zip(whole.checkpoints, kept, strict=True):  # no state was changed afterwards
        assert_same_state(checkpoint.state, copied.state)


def test_a_task_built_anew_gives_the_same_run(task: Task) -> None:
    config = tiny.config()
    assert list(map(timeless, simulate(config))) == list(map(timeless, simulate(config, task=task)))


def test_stopping_in_the_middle_is_harmless(task: Task) -> None:
    config = tiny.config(rounds=3)
    whole = [timeless(record) for record in simulate(config, task=task)]
    loop = simulate(config, task=task)
    begun = [timeless(next(loop)), timeless(next(loop))]
    loop.close()
    assert begun == whole[:2]
    interleaved = simulate(config, task=task), simulate(config.replace(seed=1), task=task)
    assert [timeless(record) for record, _ in zip(*interleaved, strict=True)] == whole


def test_runs_of_different_seeds_differ(task: Task) -> None:
    first, second = (play(tiny.config(seed=seed), task) for seed in (0, 1))
    for key, payload in first.payloads.items():
        assert payload != second.payloads[key], key
    assert [record.accuracy for record in first.records] != [record.accuracy for record in second.records]
    assert [shard.tolist() for shard in load_task(tiny.config(seed=1)).shards] != [s.tolist() for s in task.shards]


@pytest.mark.parametrize(("rho", "expected"), [(0.4, 2), (0.25, 1), (0.26, 2), (1.0, 4), (0.01, 1)])
def test_partial_participation_takes_k_clients_in_id_order(task: Task, rho: float, expected: int) -> None:
    witness = play(tiny.config(rho=rho, rounds=1), task)
    for record in witness.records:
        clients = [client.client for client in record.clients]
        assert len(clients) == expected
        assert clients == sorted(set(clients))
        assert [witness.orders[record.round, client] for client in clients] == list(range(expected))


def test_every_client_is_sampled_equally_often_and_anew_each_round() -> None:
    config = RunConfig(clients=10, rho=0.3)
    rounds = [tuple(sampled_clients(config, round)) for round in range(1000)]
    assert len(set(rounds)) > 100
    counts = Counter(client for clients in rounds for client in clients)
    assert counts.keys() == set(range(10))
    assert max(abs(count - 300) for count in counts.values()) < 4.5 * (1000 * 0.3 * 0.7) ** 0.5
    assert sampled_clients(config.replace(seed=1), 0) != sampled_clients(config.replace(seed=2), 0)


def test_progress_speaks_of_every_client(task: Task) -> None:
    class Counting(Witness):
        def progress(self, what: str, done: int, total: int) -> None:
            steps.append((what, done, total))

    steps: list[tuple[str, int, int]] = []
    list(simulate(tiny.config(rounds=1), task=task, observer=Counting()))
    expected = [(f"round {round}, clients", done, 4) for round in (0, 1) for done in range(5)]
    assert steps == expected


@pytest.mark.usefixtures("tiny_cache")
@pytest.mark.parametrize(("method", "others"), [("deltamask", True), ("fedpm", True), ("fedmask", False)])
def test_other_masks_are_evaluated_now_and_then_and_the_mean_mask_in_every_round(method: str, others: bool) -> None:
    """For two figures that few read. Not by how many rounds there are: a run may be given more."""
    config = tiny.config(method=method, rounds=5, masks_every=2)
    records = list(simulate(config))
    measured = [record.round for record in records if record.accuracy_sampled is not None]
    assert measured == ([2, 4] if others else [])
    each = [timeless(record.to_json()) for record in simulate(config.replace(masks_every=1))]
    other = {"accuracy_threshold": None, "accuracy_sampled": None}
    assert [line | other for line in each] == [timeless(record.to_json()) | other for record in records]
