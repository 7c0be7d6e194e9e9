"""The server's two estimators, by hand and as estimators; and the law that ties DeltaMask to FedPM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from deltamask import methods
from deltamask.codecs import codecs
from deltamask.codecs.mask import decode_mask
from deltamask.codecs.wire.message import unseal
from deltamask.config import RunConfig, choices
from deltamask.downlink import MaskLaw
from deltamask.masking import aggregation, masks
from deltamask.masking.masks import ONE, THETA_MAX, THETA_MIN
from deltamask.masking.noise import PublicNoise
from deltamask.methods import fedpm, masked
from deltamask.methods.deltamask import context
from deltamask.methods.masked import MaskState
from deltamask.task.task import Task, load_task
from deltamask.training import train_scores
from tests.support import tiny


def fresh(d: int) -> MaskState:
    half, none, seen = np.full(d, ONE // 2, np.uint16), np.zeros(d, np.int32), np.zeros(1, np.int64)
    head = np.zeros(4, np.float32)
    return MaskState(half, none, seen, np.array([0, d]), head, none, np.zeros(0, np.uint32), half, none, seen)


# Beta


def test_beta_over_rounds_with_partial_participation_by_hand() -> None:
    """ρ = 1/2: priors live for two rounds. Two clients in round 1, one of them lost in round 2."""
    config = RunConfig(method="fedpm", rho=0.5, clients=4)
    state = fresh(4)

    state = masked.aggregate_masks(fedpm.LAW, config, state, 1, np.array([0, 1, 2, 2], np.int32), [1, 3])
    assert state.theta.tolist() == [THETA_MIN, ONE // 2, THETA_MAX, THETA_MAX]  # 0/2, 1/2, 2/2, 2/2

    state = masked.aggregate_masks(fedpm.LAW, config, state, 2, np.array([1, 1, 0, 1], np.int32), [0])
    thirds = [round(ONE / 3), round(2 * ONE / 3), round(2 * ONE / 3), THETA_MAX]  # 1/3, 2/3, 2/3, 3/3
    assert state.theta.tolist() == thirds
    assert state.seen.tolist() == [3]

    state = masked.aggregate_masks(
        fedpm.LAW, config, state, 3, np.array([1, 0, 2, 1], np.int32), [2, 3]
    )  # the priors start afresh
    assert state.theta.tolist() == [ONE // 2, THETA_MIN, THETA_MAX, ONE // 2]
    assert state.seen.tolist() == [2]


def test_a_damped_server_goes_part_of_the_way_by_hand() -> None:
    """θ_g = ½ and masks that say 0, ½ and 1: a quarter of the way. With η = 1, what the masks say."""
    half = np.full(3, ONE // 2, np.uint16)
    goal = np.array([THETA_MIN, ONE // 2, THETA_MAX], np.uint16)
    reach = (ONE // 2 - THETA_MIN) / 4
    quarter = aggregation.damped(half, goal, 0.25)
    np.testing.assert_allclose(quarter, [ONE / 2 - reach, ONE / 2, ONE / 2 + reach], atol=0.5)
    np.testing.assert_array_equal(aggregation.damped(half, goal, 1.0), goal)
    assert aggregation.damped(half, goal, 3.0).tolist() == [THETA_MIN, ONE // 2, THETA_MAX]  # clipped
    every = np.arange(THETA_MIN, THETA_MAX + 1).astype(np.uint16)
    np.testing.assert_array_equal(aggregation.damped(every[::-1].copy(), every, 1.0), every)


def test_smoothing_counts_a_bit_as_nearly_0_or_nearly_1() -> None:
    """ε + (1 − 2ε)·mean, the mean of masks of ε and 1 − ε as FedPM's authors take it."""
    mean = np.array([THETA_MIN, ONE // 5, ONE // 2, THETA_MAX], np.uint16)
    smooth = aggregation.smoothed(mean, 0.01) / ONE
    np.testing.assert_allclose(smooth, 0.01 + 0.98 * mean / ONE, atol=1 / ONE)
    np.testing.assert_array_equal(aggregation.smoothed(mean, 0.0), mean)


@pytest.mark.parametrize("law", [fedpm.LAW, methods.get("deepreduce").masks])
def test_fedpm_and_deepreduce_follow_server_step_and_smoothing(law: MaskLaw) -> None:
    """θ_g = ½ everywhere; three of four masks have the bit set, and the server goes half of the way to 0.1 + 0.8·¾."""
    config = RunConfig(method="fedpm", clients=4, server_lr=0.5, smoothing=0.1)
    state = fresh(4)
    moved = masked.aggregate_masks(law, config, state, 1, np.full(4, 3, np.int32), [0, 1, 2, 3])
    np.testing.assert_allclose(moved.theta / ONE, (0.5 + 0.1 + 0.8 * 0.75) / 2, atol=2 / ONE)
    plain = masked.aggregate_masks(law, RunConfig(clients=4), state, 1, np.full(4, 3, np.int32), [0, 1, 2, 3])
    np.testing.assert_array_equal(plain.theta, 3 * ONE // 4)


def test_beta_is_the_mode_of_the_posterior() -> None:
    """(α − 1)/(α + β − 2) with α = 1 + ones and β = 1 + zeros, against SciPy's density."""
    grid = np.linspace(0.001, 0.999, 999)
    for ones, seen in ((1, 4), (3, 5), (7, 9)):
        (theta,) = aggregation.beta(np.array([ones], np.int32), seen)
        density = stats.beta(1 + ones, 1 + seen - ones).pdf(grid)
        assert abs(theta / ONE - grid[density.argmax()]) <= 0.001


@pytest.mark.parametrize(
    ("rho", "period"), [(1.0, 1), (0.5, 2), (0.4, 3), (0.2, 5), (0.1, 10), (0.3, 4), (1 / 3, 3), (1 / 49, 49)]
)
def test_priors_are_reset_every_one_over_rho_rounds(rho: float, period: int) -> None:
    resets = [round for round in range(1, 3 * period + 1) if aggregation.reset_priors(round, rho)]
    assert resets == [1, 1 + period, 1 + 2 * period]


@pytest.mark.parametrize("seen", [1, 3, 7, 1000, 100_000])
def test_beta_rounds_to_the_nearest_unit_and_stays_in_the_clip(seen: int) -> None:
    ones = np.arange(seen + 1, dtype=np.int32)
    theta = aggregation.beta(ones, seen)
    exact = np.clip(ONE * ones.astype(np.float64) / seen, THETA_MIN, THETA_MAX)
    assert theta.dtype == np.uint16
    assert np.abs(theta - exact).max() <= 0.5
    assert (np.diff(theta.astype(np.int64)) >= 0).all()


# Unbiased


def test_unbiased_by_hand() -> None:
    theta = np.array([32768, 32768, 32768, 65000, 300], np.uint16)
    change = np.array([0, 1, -4, 4, -4], np.int32)
    got = aggregation.unbiased(theta, change, 4, server_lr=0.5)
    # + η · change / received: 0, 1/8, −1/2, and two that leave the clip
    assert got.tolist() == [32768, 32768 + 8192, THETA_MIN, THETA_MAX, THETA_MIN]
    assert aggregation.unbiased(theta, change, 4, server_lr=0.01).tolist() == [
        32768,
        32932,
        32113,
        THETA_MAX,
        THETA_MIN,
    ]


@pytest.mark.parametrize("received", [1, 3, 1000])
@pytest.mark.parametrize("server_lr", [1e-3, 0.3, 1.0, 10.0])
def test_unbiased_rounds_to_the_nearest_unit_at_every_possible_change(received: int, server_lr: float) -> None:
    change = np.arange(-received, received + 1, dtype=np.int32)
    theta = np.full(len(change), 40_000, np.uint16)
    got = aggregation.unbiased(theta, change, received, server_lr)
    exact = np.clip(40_000 + server_lr * ONE * change / received, THETA_MIN, THETA_MAX)
    assert got.dtype == np.uint16
    assert np.abs(got - exact).max() <= 0.5 + 1e-6


def test_both_estimate_the_mean_of_theta_and_unbiased_varies_far_less() -> None:
    d, clients = 40_000, 5
    rng = np.random.default_rng(8)
    theta_global = rng.integers(26_000, 39_000, d).astype(np.uint16)
    moves = rng.integers(-2_000, 2_000, (clients, d))
    thetas = (theta_global + moves).astype(np.uint16)
    ones, change = np.zeros(d, np.int32), np.zeros(d, np.int32)
    for client, theta in enumerate(thetas):
        u = PublicNoise(1, 1, client).words(0, d)
        mask, mask_global = masks.sample(theta, u), masks.sample(theta_global, u)
        ones += mask
        change += mask.astype(np.int32) - mask_global
    truth = thetas.mean(axis=0)
    errors = {
        "beta": aggregation.beta(ones, clients) - truth,
        "unbiased": aggregation.unbiased(theta_global, change, clients, 1.0) - truth,
    }
    for name, error in errors.items():
        assert abs(error.mean()) < 4 * error.std() / np.sqrt(d), name
        rising = moves.mean(axis=0) > 500  # not only on average over all, but also where θ moved one way
        assert abs(error[rising].mean()) < 4 * error[rising].std() / np.sqrt(rising.sum()), name
    assert errors["unbiased"].var() < errors["beta"].var() / 5


# DeltaMask with κ = 1, an exact codec, per-client noise and `beta` is FedPM (DESIGN, section 3)


@pytest.fixture(scope="module")
def law_config() -> RunConfig:
    return tiny.config(noise="per_client", aggregation="beta", kappa=1.0, codec="mask", lr=0.3, local_epochs=3)


@pytest.fixture(scope="module")
def task(law_config: RunConfig, tiny_cache: Path) -> Task:
    return load_task(law_config)


def head(task: Task) -> np.ndarray:
    """A classifier that lets gradients through; behind zeros nothing would be learnt."""
    return np.random.default_rng(2).normal(0, 0.3, task.head_size).astype(np.float32)


@pytest.mark.parametrize("codec", [name for name in choices("codec") if codecs[name].exact])
def test_the_masks_that_deltamask_averages_are_the_clients_own(law_config: RunConfig, task: Task, codec: str) -> None:
    config = law_config.replace(codec=codec)
    method = methods.get("deltamask")
    state = method.init(task, config, head(task))
    message = state.now
    uploads = {client: method.client_update(task, config, 1, client, message) for client in range(config.clients)}
    total = np.zeros(task.d, np.int32)
    for client, upload in uploads.items():
        trained = train_scores(task, state.head, state.theta, config, round=1, client=client)
        u = PublicNoise(config.seed, 1, client).words(0, task.d)
        own = u < trained.theta
        decoded = codecs[codec].decode(upload.payload, context(config, state.theta, state.layers, 1, client))
        np.testing.assert_array_equal(masks.apply_flips(masks.sample(state.theta, u), decoded), own)
        assert np.count_nonzero(own != masks.sample(state.theta, u)) > 100  # something was learnt, and travelled
        total += own
    after = method.server_update(
        config, state, 1, ((client, upload.payload) for client, upload in uploads.items()), lambda receipt: None
    )
    np.testing.assert_array_equal(after.theta, aggregation.beta(total, config.clients))


def test_deltamask_and_fedpm_send_masks_of_one_distribution(law_config: RunConfig, task: Task) -> None:
    """In each eighth of the θ, from the lowest to the highest, the number of ones is binomial for both."""
    method = methods.get("fedpm")
    state = method.init(task, law_config, head(task))
    message = state.now
    levels = 8
    got = {"deltamask": np.zeros(levels), "fedpm": np.zeros(levels)}
    mean, variance = np.zeros(levels), np.zeros(levels)
    for client in range(law_config.clients):
        theta = train_scores(task, state.head, state.theta, law_config, round=1, client=client).theta
        level = np.argsort(np.argsort(theta, kind="stable")) * levels // task.d  # which eighth of the θ it is in
        p = theta / ONE

        upload = method.client_update(task, law_config, 1, client, message)
        mask = decode_mask(unseal(upload.payload, "mask", 1, client, task.d), task.d)
        got["fedpm"] += np.bincount(level, mask, levels)
        u = PublicNoise(law_config.seed, 1, client).words(0, task.d)
        got["deltamask"] += np.bincount(level, u < theta, levels)
        mean += np.bincount(level, p, levels)
        variance += np.bincount(level, p * (1 - p), levels)
    for name, ones in got.items():
        chi_square = float(((ones - mean) ** 2 / variance).sum())
        assert stats.chi2(levels).sf(chi_square) > 1e-3, name


def test_fedpm_draws_anew_for_every_client_and_round(law_config: RunConfig, task: Task) -> None:
    """With a step too small to move θ, two masks agree as independent draws do, and not as equal ones."""
    config = law_config.replace(lr=1e-9)
    method = methods.get("fedpm")
    state = method.init(task, config, head(task))

    def mask(round: int, client: int) -> masks.Mask:
        upload = method.client_update(task, config, round, client, state.now)
        return decode_mask(unseal(upload.payload, "mask", round, client, task.d), task.d)

    theta = state.theta[0] / ONE
    expected = 2 * theta * (1 - theta)
    tolerance = 5 * np.sqrt(expected * (1 - expected) / task.d)
    public = masks.sample(state.theta, PublicNoise(config.seed, 1, 0).words(0, task.d))
    for other in (mask(2, 0), mask(1, 1), public):
        assert abs(np.mean(mask(1, 0) != other) - expected) < tolerance
