"""The account of a run: counted by hand, and what cannot be kept is refused by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from deltamask import methods
from deltamask.config import RunConfig, explain_errors
from deltamask.methods import Method
from deltamask.privacy import plan
from deltamask.privacy.accountant import Steps, noise_for, spent
from deltamask.task.turns import trainers
from tests.support import tiny

SAMPLES = [96, 100, 120, 84]


def private(**changes: Any) -> RunConfig:
    return tiny.config(dp="samples", dp_epsilon=4.0, probe_epochs=3, local_epochs=2, **changes)


def test_steps_are_counted_for_each_client() -> None:
    config = private(rho=0.5, rounds=5)
    for client, samples in enumerate(SAMPLES):
        turns = sum(client in trainers(config, round) for round in (1, 2, 3))
        epochs = 2 * turns + 3 * (client in trainers(config, 0))
        assert plan.steps_until(config, client, samples, 3) == epochs * {96: 3, 100: 4, 120: 4, 84: 3}[samples]
    assert plan.rate_of(config, 96) == pytest.approx(1 / 3)
    head_only = config.replace(method="head-only")
    assert plan.steps_until(head_only, trainers(config, 0)[0], 96, 5) == 9


def test_each_clients_noise_lasts_exactly_for_all_rounds() -> None:
    config = private(rounds=3)
    for client, samples in enumerate(SAMPLES):
        number = plan.steps_until(config, client, samples, 3)
        noise = plan.noise_of(config, client, samples)
        assert noise == noise_for(4.0, 1e-5, 32 / samples, number)
        assert spent([Steps(noise, 32 / samples, number)], 1e-5) <= 4.0
    by_round = [plan.epsilon(config, SAMPLES, round) for round in range(4)]
    assert by_round == sorted(by_round)
    assert 3.95 < by_round[-1] <= 4.0
    assert not plan.is_spent(config, SAMPLES, 3)


def test_with_noise_of_ones_own_the_budget_runs_out() -> None:
    config = private(rounds=30, dp_noise=5.0)
    last = next(round for round in range(1, 31) if plan.is_spent(config, SAMPLES, round)) - 1
    assert 0 < last < 30
    assert plan.epsilon(config, SAMPLES, last) <= 4.0 < plan.epsilon(config, SAMPLES, last + 1)
    assert plan.noise_of(config, 0, 96) == 5.0
    assert plan.epsilon(config, SAMPLES, 5, "pld") < plan.epsilon(config, SAMPLES, 5)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"dp_epsilon": 0}, "dp_epsilon = 0 is out of range: 0 < dp_epsilon ≤ 1000"),
        ({"dp_epsilon": -1}, "dp_epsilon = -1 is out of range"),
        ({"dp_clip": 0}, "dp_clip = 0 is out of range"),
        ({"dp_delta": 0}, "dp_delta = 0 is out of range"),
        ({"dp_delta": 0.0025}, "dp_delta = 0.0025 is not below 1/train_samples = 0.0025"),
        ({"local_loss": "balanced"}, "local_loss = balanced reads the client's label shares without noise"),
        ({"compare_alone": True}, "compare_alone trains every client once more"),
    ],
)
def test_a_config_that_promises_nothing_sensible_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RunConfig(**{**private().model_dump(), **changes})
    assert why in "; ".join(explain_errors(caught.value))


def test_shards_heads_and_methods_that_break_the_promise_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    plan.check(private(), SAMPLES)
    with pytest.raises(ValueError, match=r"batch_size = 90 is larger than client 3's 84 samples"):
        plan.check(private(batch_size=90), SAMPLES)
    with pytest.raises(ValueError, match="head_temperature = 0 asks clients for losses without noise"):
        plan.check(private(head_init="unit-means"), SAMPLES)
    with pytest.raises(ValueError, match="head_refit = 2 sends statistics again"):
        plan.check(private(head_init="unit-means", head_temperature=1.0, head_refit=2), SAMPLES)
    with pytest.raises(ValueError, match="head_init = gram sends sums of features without noise"):
        plan.check(private(head_init="gram"), SAMPLES)
    with pytest.raises(ValueError, match=r"dp_epsilon = 0\.0001 cannot be kept over"):
        plan.check(private().replace(dp_epsilon=1e-4), SAMPLES)
    plan.check(tiny.config(batch_size=90), SAMPLES)
    with pytest.raises(ValueError, match="dp_epsilon = 4 protects nothing without dp = samples"):
        plan.check(private().replace(dp="none"), SAMPLES)
    entries: dict[str, Method] = methods.methods._entries
    monkeypatch.setitem(entries, "deltamask", replace(entries["deltamask"], private=False))
    with pytest.raises(ValueError, match="method deltamask does not say that it keeps the promise"):
        plan.check(private(), SAMPLES)
