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
from deltamask.privacy.accountant import Rounds, Steps, noise_for, spent
from deltamask.task.turns import trainers
from tests.support import tiny

SAMPLES = [96, 100, 120, 84]


def private(**changes: Any) -> RunConfig:
    return tiny.config(dp="samples", dp_epsilon=4.0, probe_epochs=3, local_epochs=2, **changes)


def protecting_clients(**changes: Any) -> RunConfig:
    settings = {"aggregation": "unbiased", "codec": "gap", "head_init": "unit-means", "head_temperature": 1.0}
    return tiny.config(**{"dp": "clients", "dp_epsilon": 4.0, **settings, **changes})


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
        assert noise == noise_for(4.0, 1e-5, Steps(0.0, 32 / samples, number))
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


@pytest.mark.parametrize("rho", [1.0, 0.4])
def test_a_promise_for_clients_lasts_exactly_for_all_rounds_and_is_the_same_for_all(rho: float) -> None:
    config = protecting_clients(rounds=6, clients=5, rho=rho, dp_head_share=0.25)
    head, noise = plan.head_noise(config), plan.sum_noise(config)
    shown = [Rounds(head, 5, 5, 1), Rounds(noise, config.clients_per_round, 5, 6)]
    by_round = [plan.epsilon(config, [80] * 5, round) for round in range(7)]
    assert by_round[0] == spent(shown[:1], 1e-5) == pytest.approx(0.25 * 4, rel=0.02)
    assert by_round == sorted(by_round)
    assert by_round[-1] == spent(shown, 1e-5) == pytest.approx(4.0, rel=0.02)
    assert by_round[-1] <= 4.0
    assert plan.epsilon(config, [20, 300, 7, 8, 65], 6) == by_round[-1], "whoever holds how much"
    own = config.replace(dp_noise=noise)
    assert plan.sum_noise(own) == noise
    assert not plan.is_spent(own, [80] * 5, 6)
    assert plan.is_spent(own.replace(rounds=9), [80] * 5, 7)
    alone = config.replace(method="head-only")
    assert plan.epsilon(alone, [80] * 5, 6) == plan.epsilon(alone, [80] * 5, 0) == pytest.approx(4.0, rel=0.02)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"method": "finetune"}, "dp = clients: method finetune does not say that it keeps the promise"),
        ({"method": "fedpm"}, "dp = clients: method fedpm does not say"),
        ({"head_init": "probe"}, "dp = clients: head_init = probe sends what it finds.*; use unit-means"),
        ({"head_init": "gram"}, "dp = clients: head_init = gram sends"),
        ({"head_temperature": 0.0}, "head_temperature = 0 asks clients for losses"),
        ({"head_refit": 2}, "head_refit = 2 sends statistics again"),
        ({"aggregation": "beta"}, "the sum of flips, which aggregation = beta does not read: use unbiased"),
        ({"codec": "bfuse8"}, "codec = bfuse8 answers more than were sent: use an exact one, such as gap"),
        ({"robust": "clip"}, "robust = clip weighs one client's message by the others'"),
        ({"dp_clip": 1.0}, "dp_clip = 1 protects nothing without dp = samples"),
        ({"dp_epsilon": 1e-5}, r"dp_epsilon = 5e-06 cannot be kept over 1 rounds by any noise"),
        ({"dp": "samples", "dp_flips": 5}, "dp_flips = 5 protects nothing without dp = clients"),
        ({"dp": "none", "dp_epsilon": 8.0, "dp_flips": 5}, "dp_flips = 5 protects nothing without dp = clients"),
    ],
)
def test_what_breaks_a_promise_for_clients_is_refused(changes: dict[str, Any], why: str) -> None:
    plan.check(protecting_clients(), [3, 80, 80, 80])  # no batch is drawn: a client may hold less than one
    with pytest.raises(ValueError, match=why):
        plan.check(protecting_clients(**changes), SAMPLES)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"dp_epsilon": 0}, "dp_epsilon = 0 is out of range: 0 < dp_epsilon ≤ 1000"),
        ({"dp_epsilon": -1}, "dp_epsilon = -1 is out of range"),
        ({"dp_clip": 0}, "dp_clip = 0 is out of range"),
        ({"dp_delta": 0}, "dp_delta = 0 is out of range"),
        ({"dp_delta": 0.0025}, "dp_delta = 0.0025 is not below 1/train_samples = 0.0025"),
        ({"dp": "clients", "dp_delta": 0.25}, "dp_delta = 0.25 is not below 1/clients = 0.25"),
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
    with pytest.raises(ValueError, match=r"head_init = gram sends what it finds.*; use probe or unit-means"):
        plan.check(private(head_init="gram"), SAMPLES)
    with pytest.raises(ValueError, match=r"dp_epsilon = 0\.0001 cannot be kept over"):
        plan.check(private().replace(dp_epsilon=1e-4), SAMPLES)
    plan.check(tiny.config(batch_size=90), SAMPLES)
    with pytest.raises(ValueError, match="dp_epsilon = 4 protects nothing without dp = samples or clients"):
        plan.check(private().replace(dp="none"), SAMPLES)
    entries: dict[str, Method] = methods.methods._entries
    monkeypatch.setitem(entries, "deltamask", replace(entries["deltamask"], private=()))
    with pytest.raises(ValueError, match="method deltamask does not say that it keeps the promise"):
        plan.check(private(), SAMPLES)
