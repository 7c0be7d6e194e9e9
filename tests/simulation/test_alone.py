"""What each client could do alone: recorded once, the same however often the run is begun or goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deltamask import methods, training
from deltamask.base.progress import ALONE
from deltamask.cli import main
from deltamask.runs import export
from deltamask.runs.folder import RunFolder
from deltamask.runs.import_zip import unpack_run
from deltamask.runs.reader import load_run
from deltamask.runs.runner import execute
from deltamask.simulation.alone import accuracy_alone, lone_config
from deltamask.simulation.loop import Observer, simulate
from deltamask.task.task import Task, load_task, no_progress
from tests.support import tiny
from tests.support.tiny import Witness, assert_same_state, timeless

CONFIG = tiny.config(compare_alone=True, dirichlet_alpha=0.3, rho=0.5, rounds=4)


@pytest.fixture(scope="module")
def task(tiny_cache: Path) -> Task:
    return load_task(CONFIG)


class Heard(Observer):
    """Keeps the progress of going alone."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []

    def progress(self, what: str, done: int, total: int) -> None:
        if what == ALONE:
            self.steps.append((done, total))


def test_a_lone_client_trains_as_much_as_one_of_the_run_and_with_plain_cross_entropy() -> None:
    lone = lone_config(CONFIG.replace(rounds=7, local_loss="balanced"))
    assert (lone.rounds, lone.local_loss) == (4, "cross_entropy")  # ⌈½ · 7⌉
    assert lone_config(CONFIG.replace(rho=0.01)).rounds == 1


@pytest.mark.parametrize("name", ["deltamask", "finetune"])
def test_it_is_the_method_s_own_training_by_hand(task: Task, name: str) -> None:
    """Two rounds of client 1 alone, going on with its own θ or weights."""
    config = CONFIG.replace(method=name)
    head = np.random.default_rng(1).normal(0, 0.1, task.head_size).astype(np.float32)
    if name == "deltamask":
        theta = methods.get(name).init(task, config, head).theta
        for round in (1, 2):
            theta = training.train_scores(task, head, theta, config, round=round, client=1).theta
        effective, last = task.tail.times(theta.astype(np.float32) / 2**16), head
    else:
        values = np.concatenate([task.tail.weights.numpy(), head])
        for round in (1, 2):
            values, _ = training.train_weights(task, values, config, round=round, client=1)
        effective, last = task.tail.tensor(values[: task.d]), values[task.d :]
    by_class = training.evaluate(task, effective, last).class_accuracy
    counts = task.label_counts[1]
    got = accuracy_alone(task, config, head, 1, no_progress)
    assert got == pytest.approx((np.nan_to_num(by_class) @ counts) / counts.sum())


@pytest.mark.parametrize("name", ["deltamask", "fedmask", "finetune", "lora", "linear-probe", "head-only"])
def test_it_changes_nothing_else_and_stands_in_round_0_alone(task: Task, name: str) -> None:
    config = CONFIG.replace(method=name)
    heard, plain, compared = Heard(), Witness(), Witness()
    list(simulate(config.replace(compare_alone=False), task=task, observer=plain))
    list(simulate(config, task=task, observer=compared))
    first, *others = compared.records
    assert first.alone is not None
    assert len(first.alone) == 4
    assert all(record.alone is None for record in [*others, *plain.records])
    assert [timeless(replace(record, alone=None)) for record in compared.records] == list(map(timeless, plain.records))
    assert compared.payloads == plain.payloads
    assert compared.broadcasts == plain.broadcasts
    assert_same_state(compared.checkpoints[-1].state, plain.checkpoints[-1].state)
    again = next(simulate(config, task=task, observer=heard))
    assert again.alone == first.alone
    assert heard.steps == [(client, 4) for client in range(4) for _ in range(2)] + [(4, 4)]
    if name == "head-only":
        assert first.alone == first.client_accuracy


def test_a_client_of_one_class_soon_knows_it_alone(task: Task) -> None:
    only = np.flatnonzero(task.train_y.numpy() == 3)
    one = replace(task, shards=[only, *task.shards[1:]])
    record = next(simulate(CONFIG.replace(method="linear-probe", local_epochs=10), task=one))
    assert record.alone is not None
    assert record.alone[0] == 1
    assert record.client_accuracy is not None
    assert record.client_accuracy[0] < 1


def test_a_lone_client_that_diverges_keeps_what_it_had(task: Task) -> None:
    features = task.train_x.clone()
    features[task.shards[1][0]] = float("nan")
    head = np.random.default_rng(1).normal(0, 0.1, task.head_size).astype(np.float32)
    sick, config = replace(task, train_x=features), CONFIG.replace(method="finetune")
    untrained = training.evaluate(task, task.tail.weights, head)
    expected = training.client_accuracy(untrained, task.label_counts[1])
    assert accuracy_alone(sick, config, head, 1, no_progress) == expected
    assert accuracy_alone(task, config, head, 1, no_progress) != expected


def test_a_method_that_does_not_say_how_is_refused(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(methods.methods._entries, "fedpm", replace(methods.get("fedpm"), alone=None))
    with pytest.raises(ValueError, match="compare_alone: method fedpm does not say how a client trains alone"):
        next(simulate(CONFIG.replace(method="fedpm"), task=task))


def test_it_survives_a_stop_and_a_resume_and_a_zip(tiny_cache: Path, tmp_path: Path) -> None:
    """Stopped in round 2, the run goes on without a lone client training again; stopped before, all of them do."""
    folder = RunFolder.create(tmp_path / "run", CONFIG)
    asked: list[tuple[str, int, int]] = []

    def run(stop_at: tuple[str, int] | None) -> str:
        asked.clear()

        def show(what: str, done: int, total: int) -> None:
            asked.append((what, done, total))
            if (what, done) == stop_at:
                folder.ask("stop")

        return execute(folder, CONFIG, on_record=lambda record: None, show=show)

    assert run((ALONE, 2)) == "stopped"
    assert load_run(folder.path).records == []
    assert run(("round 2, clients", 1)) == "stopped"
    before = load_run(folder.path).records
    assert len(before) == 2
    assert len(before[0]["alone"]) == 4
    assert run(None) == "finished"
    assert not [what for what, *_ in asked if what == ALONE]
    after = load_run(folder.path)
    assert after.records[:2] == before
    whole: list[dict[str, Any]] = [timeless(record) for record in simulate(CONFIG)]
    assert [timeless(record) for record in after.records] == whole
    export.write(after, tmp_path / "run.zip")
    with open(tmp_path / "run.zip", "rb") as file:
        assert load_run(unpack_run(file, tmp_path / "elsewhere")).records == after.records


def test_the_command_line_takes_a_value(tiny_cache: Path, tmp_path: Path) -> None:
    config = CONFIG.replace(rounds=1)
    assert main(["run", *tiny.flags(config), "--out", str(tmp_path / "run")]) == 0
    stored = load_run(tmp_path / "run")
    assert stored.config == config
    assert "--compare-alone True" in export.command_line(config)
    assert len(stored.records[0]["alone"]) == 4
