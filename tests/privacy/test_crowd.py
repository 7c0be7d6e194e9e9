"""Arithmetic of a promise for whole clients, by hand and against noise that is really drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deltamask.privacy import accountant, crowd


def test_clients_needed_by_hand() -> None:
    assert crowd.noise_of_sum(10_000, 2.5) == 250
    assert crowd.clients_needed(10_000, 2.5, 1.0) == 250
    assert crowd.clients_needed(10_000, 2.5, 0.1) == 2500
    assert crowd.clients_needed(10_000, 2.5, 0.3) == 834
    assert crowd.clients_needed(1, 0.01, 1.0) == 1


def test_at_that_many_clients_the_signal_is_as_large_as_the_noise_and_with_one_less_it_is_not() -> None:
    for flips, sigma, agreement in ((900, 1.7, 0.07), (5_000, 4.0, 0.5)):
        needed = crowd.clients_needed(flips, sigma, agreement)
        noise = crowd.noise_of_sum(flips, sigma)
        assert crowd.signal(needed, agreement) >= noise > crowd.signal(needed - 1, agreement)


def test_a_client_moves_the_sum_by_no_more_than_the_noise_is_made_for() -> None:
    rng = np.random.default_rng(2)
    update = np.zeros(5_000)
    update[rng.choice(5_000, 400, replace=False)] = rng.choice([-1, 1], 400)
    assert np.linalg.norm(update) == pytest.approx(crowd.noise_of_sum(400, 1.0))


def test_sigma_keeps_epsilon_over_all_rounds() -> None:
    sigma = crowd.sigma_for(4.0, 1e-5, 20)
    assert 3.9 < accountant.spent([accountant.Steps(sigma, 1.0, 20)], 1e-5) <= 4.0
    assert crowd.sigma_for(4.0, 1e-5, 40) > sigma > crowd.sigma_for(8.0, 1e-5, 20)


@pytest.mark.parametrize("agreement", [0.0, 1.01, -0.5])
def test_what_is_no_share_is_refused(agreement: float) -> None:
    with pytest.raises(ValueError, match="agreement"):
        crowd.signal(10, agreement)
    with pytest.raises(ValueError, match="flips = 0"):
        crowd.noise_of_sum(0, 1.0)


def test_the_document_has_the_figures_of_its_example() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "privacy.md").read_text()
    sigma = crowd.sigma_for(8.0, 1e-5, 40)
    assert f"σ = {sigma:.2f}, noise of {crowd.noise_of_sum(3000, sigma):,.0f}" in text
    for share, who in ((1.0, "clients if all agree"), (0.1, "if a tenth does"), (0.01, "if a hundredth does")):
        assert f"{crowd.clients_needed(3000, sigma, share):,} {who}" in text
