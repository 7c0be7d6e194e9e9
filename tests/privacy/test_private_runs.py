"""Runs with a promise: every method, killed and resumed, spent, and what may not be changed on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deltamask import load_run, methods
from deltamask.cli import main
from deltamask.config import RunConfig
from deltamask.masking.masks import to_fixed
from deltamask.privacy import plan
from deltamask.runs.folder import RunFolder, write_json
from deltamask.runs.status import read_json
from deltamask.simulation.loop import simulate
from deltamask.task.task import Task, load_task
from deltamask.training import train_scores
from deltamask.training.private import PrivateSteps
from tests.support import tiny
from tests.support.commands import quiet, records, run_and_kill, uninterrupted
from tests.support.tiny import timeless

PRIVATE = [name for name in methods.names() if "samples" in methods.get(name).private]


def config(**changes: Any) -> RunConfig:
    return tiny.config(**{"dp": "samples", "probe_epochs": 4, "clients": 3, "batch_size": 24, **changes})


@pytest.fixture(scope="module")
def task(tiny_cache: Path) -> Task:
    return load_task(config())


@pytest.mark.parametrize("name", PRIVATE)
def test_every_method_counts_what_it_spends_and_ends_at_epsilon(name: str, task: Task) -> None:
    private = config(method=name, dp_epsilon=6.0)
    spent = [record.epsilon for record in simulate(private, task=task)]
    assert spent == [plan.epsilon(private, task.samples.tolist(), round) for round in range(3)]
    assert 5.9 < spent[-1] <= 6.0  # type: ignore[operator]
    assert all(record.epsilon is None for record in simulate(private.replace(dp="none", dp_epsilon=8.0), task=task))


def test_what_is_released_is_the_clipped_sum_and_noise_of_its_size(task: Task) -> None:
    """Over many steps: the noise of what comes out has the standard deviation σ·C/B."""
    private = config(dp_noise=3.0, dp_clip=0.5)
    steps = PrivateSteps(task, private, purpose="local", epochs=40, round=1, client=0)
    weight, bias = torch.zeros(10, tiny.FEATURES), torch.zeros(10)
    out = np.array(
        [
            steps.gradient(index, weight, bias, lambda each: each, task.d, head=False)[0].numpy()
            for index in steps.batches()
        ]
    )
    assert out.std() == pytest.approx(3.0 * 0.5 / 24, rel=0.02)  # weights of zero: no gradient, all is noise


def test_training_keeps_to_batches_drawn_at_random(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    step = PrivateSteps.gradient

    def counting(self: PrivateSteps, index: Any, *rest: Any, **named: Any) -> Any:
        seen.append(len(index))
        return step(self, index, *rest, **named)

    monkeypatch.setattr(PrivateSteps, "gradient", counting)
    private = config(local_epochs=3)
    theta = to_fixed(np.full(task.d, 0.9))
    train_scores(task, np.zeros(task.head_size, np.float32), theta, private, round=1, client=0)
    samples = len(task.shards[0])
    assert len(seen) == plan.steps_in(private, samples, 3)
    assert len(set(seen)) > 3
    assert np.mean(seen) == pytest.approx(24, abs=6)


FOR_CLIENTS = {
    "dp": "clients", "aggregation": "unbiased", "codec": "gap", "head_init": "unit-means", "head_temperature": 1.0,
}  # fmt: skip


@pytest.mark.parametrize("promise", [{}, FOR_CLIENTS])
def test_killed_during_a_round_it_goes_on_with_the_same_epsilon_noise_and_records(
    tiny_cache: Path, tmp_path: Path, promise: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    private = config(rounds=6, local_epochs=3, rho=0.6, **promise)
    path = tmp_path / "run"
    run_and_kill(private, path)
    before = load_run(path)
    assert before.state == "killed"
    assert 2 <= len(before.records) < 7
    assert main(["resume", str(path)]) == 0
    assert [timeless(record) for record in load_run(path).records] == uninterrupted(private)
    assert main(["show", str(path)]) == 0
    whose = "client" if promise else "training sample"
    assert f"privacy of each {whose}: ε" in " ".join(capsys.readouterr().out.split())


def test_a_run_ends_before_it_spends_more_and_says_so(
    tiny_cache: Path, tmp_path: Path, task: Task, capsys: pytest.CaptureFixture[str]
) -> None:
    private = config(rounds=30, dp_noise=2.0, dp_epsilon=5.0)
    folder = RunFolder.create(tmp_path / "run", private)
    assert quiet(private, folder) == "finished"
    written = records(folder.path)
    assert 1 < len(written) < 31
    assert written[-1]["epsilon"] <= 5.0 < plan.epsilon(private, task.samples.tolist(), len(written))
    said = f"ended after round {len(written) - 1}: the next one would spend more than dp_epsilon = 5"
    assert read_json(folder.path / "status.json")["message"] == said
    assert quiet(private, folder) == "finished"
    assert records(folder.path) == written
    assert main(["show", str(folder.path)]) == 0
    spent = f"privacy of each training sample: ε {written[-1]['epsilon']:.2f} spent of 5, at δ 1e-05"
    assert spent in " ".join(capsys.readouterr().out.split())


def test_a_run_without_a_promise_shows_no_epsilon(
    tiny_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder.create(tmp_path / "run", tiny.config(rounds=1))
    quiet(tiny.config(rounds=1), folder)
    assert all(record["epsilon"] is None for record in records(folder.path))
    assert main(["show", str(folder.path)]) == 0
    assert "ε" not in capsys.readouterr().out


def test_another_budget_or_more_rounds_are_refused(
    tiny_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    private = config(rounds=3)
    folder = RunFolder.create(tmp_path / "run", private)
    quiet(private, folder)
    assert main(["resume", str(folder.path), "--rounds", "5"]) == 1
    assert "its noise was found for 3, after which dp_epsilon = 8 is spent" in " ".join(capsys.readouterr().err.split())
    stored = read_json(folder.path / "config.json")
    for field, value, said in (("dp_epsilon", 16.0, "was 8.0 and is 16.0"), ("rounds", 5, "was 3 and is 5")):
        write_json(folder.path / "config.json", {**stored, "config": {**stored["config"], field: value}})
        assert main(["resume", str(folder.path)]) == 1
        assert f"{field} {said}" in " ".join(capsys.readouterr().err.split())
