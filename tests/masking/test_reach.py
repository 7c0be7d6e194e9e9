"""How far Adam carries a score, and so which flips can be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deltamask.masking import reach
from deltamask.masking.masks import ONE, THETA_MAX, THETA_MIN, flips, to_fixed


def walked(gradients: np.ndarray, lr: float) -> np.ndarray:
    """(steps, n) how far torch's Adam has moved each of n values after each step."""
    values = torch.zeros(gradients.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([values], lr=lr, eps=1e-300)
    out = []
    for gradient in gradients:
        values.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
        out.append(values.detach().numpy().copy())
    return np.array(out)


@pytest.mark.parametrize("steps", [1, 2, 19, 300])
def test_the_largest_step_is_reached_and_never_passed(steps: int) -> None:
    """Gradients in proportion to (β₁/β₂)^(t−i) make the last step the largest that there is."""
    ratio = reach.BETA1 / reach.BETA2
    worst = (ratio ** np.arange(steps - 1, -1.0, -1.0))[:, None]
    many = np.random.default_rng(0).standard_t(1, (steps, 500)) * 10 ** np.random.default_rng(1).uniform(
        -6, 6, (steps, 500)
    )
    path = np.vstack([np.zeros((1, 501)), walked(np.hstack([worst, many]), 1.0)])
    last = np.abs(path[-1] - path[-2])
    largest = float(reach.largest_step(np.array([float(steps)]))[0])
    assert last[0] == pytest.approx(largest, rel=1e-9)
    assert last.max() <= largest * (1 + 1e-9)
    assert np.abs(path[-1]).max() <= reach.distance(1.0, steps) * (1 + 1e-9)


def test_the_bound_is_near_what_constant_gradients_reach_and_the_constants_are_as_written() -> None:
    assert reach.distance(0.1, 19) == pytest.approx(0.1 * 19 * 1.0536, rel=1e-3)
    assert reach.distance(1.0, 1000) == pytest.approx(4228.5, rel=1e-3)
    assert float(reach.largest_step(np.array([1e6]))[0]) == pytest.approx(7.2703, abs=1e-4)
    assert walked(np.ones((19, 1)), 0.1)[-1, 0] == pytest.approx(-1.9, rel=1e-6)


@given(steps=st.integers(1, 40), lr=st.sampled_from([0.001, 0.03, 0.3]), seed=st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_flips_of_training_are_all_possible(steps: int, lr: float, seed: int) -> None:
    """Scores in float32, moved by Adam on any gradients and clipped, as `training/scores.py` does it."""
    rng = np.random.default_rng(seed)
    theta = rng.integers(THETA_MIN, THETA_MAX + 1, 3000).astype(np.uint16)
    u = (theta.astype(np.int64) + rng.integers(-300, 300, 3000)).clip(0, ONE - 1).astype(np.uint16)
    scores = torch.from_numpy(theta.astype(np.float32) / ONE).logit_().requires_grad_(True)
    optimizer = torch.optim.Adam([scores], lr=lr, fused=True)
    pull = rng.normal(size=3000)
    for _ in range(steps):
        scores.grad = torch.from_numpy((pull + rng.normal(size=3000) * 0.1).astype(np.float32))
        optimizer.step()
        with torch.no_grad():
            scores.clamp_(-6, 6)
    trained = to_fixed(torch.sigmoid(scores.detach().double()).numpy())
    found = flips(trained, theta, u)
    assert len(found) or lr == 0.001
    assert reach.possible(found, theta, u, lr, steps).all()


def test_a_flip_beyond_the_reach_is_not_possible_and_one_within_is() -> None:
    """θ_g = ½, a reach of 1: θ_k lies between σ(−1) = 0.269 and σ(1) = 0.731."""
    theta = np.full(4, ONE // 2, np.uint16)
    u = np.array([0.26, 0.28, 0.72, 0.74]) * ONE
    everywhere = np.arange(4)
    assert reach.possible(everywhere, theta, u.astype(np.uint16), 1.0, 1).tolist() == [False, True, True, False]
