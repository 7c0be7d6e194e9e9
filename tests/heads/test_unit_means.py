"""Mean directions: exact without noise, and with it one release that hides each sample."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from deltamask.codecs import DecodeError
from deltamask.heads import HeadSettings, Sender, Statistics, heads
from deltamask.heads.base import ClosedForm
from deltamask.heads.unit_means import CLIENT_BITS, longest, longest_client, to_unit_steps
from deltamask.privacy import plan
from deltamask.privacy.accountant import Steps, spent
from deltamask.simulation.loop import simulate
from tests.support import tiny

CLASSES, FEATURES = 4, 40
AGREED = HeadSettings(seed=3, classes=CLASSES, features=FEATURES)
NOISY = replace(AGREED, noise=2.0)


def kind() -> ClosedForm:
    found = heads["unit-means"]
    assert isinstance(found, ClosedForm)
    return found


def samples(count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    y = rng.integers(0, CLASSES, count)
    x = (rng.normal(size=(count, FEATURES)) + 2 * rng.normal(size=(CLASSES, FEATURES))[y]).astype(np.float32)
    return x * rng.uniform(0.1, 30, (count, 1)).astype(np.float32), y


def summed(x: np.ndarray, y: np.ndarray, settings: HeadSettings, client: int = 0) -> Statistics:
    return kind().summarise(x, y, Sender(client, np.bincount(y, minlength=CLASSES)), settings)


def test_without_noise_it_is_the_same_for_every_split_and_blind_to_length() -> None:
    x, y = samples()
    whole = kind().solve(kind().total([summed(x, y, AGREED)], AGREED), AGREED)
    parts = [summed(x[part::5], y[part::5], AGREED) for part in range(5)]
    split = kind().solve(kind().total(parts, AGREED), AGREED)
    np.testing.assert_array_equal(whole.weight, split.weight)
    longer = kind().solve(kind().total([summed(x * 7, y, AGREED)], AGREED), AGREED)
    np.testing.assert_allclose(longer.weight, whole.weight, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(whole.weight, axis=1), 1)
    expected = np.stack([(x / np.linalg.norm(x, axis=1, keepdims=True))[y == label].sum(0) for label in range(CLASSES)])
    np.testing.assert_allclose(whole.weight, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=2e-3)


@pytest.mark.parametrize("scale", [0.0, 1e-20, 1.0, 1e30])
def test_no_sample_adds_more_than_the_noise_was_made_for(scale: float) -> None:
    x, _ = samples(200)
    with np.errstate(over="ignore"):
        steps = to_unit_steps(x.astype(np.float64) * scale)
    assert np.linalg.norm(steps, axis=1).max() <= longest(FEATURES)


def test_noise_has_its_size_is_each_clients_own_and_counts_are_not_sent() -> None:
    x, y = samples()
    plain = summed(x, y, replace(AGREED, min_samples=1)).sums
    noise = np.stack([summed(x, y, NOISY, client).sums - plain for client in range(60)])
    assert noise.std() == pytest.approx(2.0 * longest(FEATURES), rel=0.03)
    assert abs(np.corrcoef(noise.reshape(60, -1))[np.triu_indices(60, 1)]).mean() < 0.1
    few, many = summed(x[:7], y[:7], NOISY), summed(x, y, NOISY)
    np.testing.assert_array_equal(few.counts, many.counts)
    np.testing.assert_array_equal(few.labels, many.labels)
    for found, count in ((few, 7), (many, 400)):
        sender = Sender(0, np.bincount(y[:count], minlength=CLASSES))
        read = kind().decode(kind().encode(found, sender, NOISY), Sender(0, sender.registered * 3), NOISY)
        np.testing.assert_array_equal(read.sums, found.sums)


def test_a_noisy_head_still_tells_classes_apart() -> None:
    x, y = samples()
    parts = [summed(x[part::5], y[part::5], NOISY, part) for part in range(5)]
    head = kind().solve(kind().total(parts, NOISY), NOISY)
    assert ((x @ head.weight.T).argmax(1) == y).mean() > 0.8
    nothing = kind().total([summed(x[:0], y[:0], NOISY)], NOISY)
    assert np.isfinite(kind().solve(nothing, NOISY).flat()).all()


WHOLE = replace(NOISY, whole_clients=True)


def test_where_clients_are_protected_each_counts_alike_and_the_server_adds_the_noise() -> None:
    x, y = samples()
    many, few = summed(x, y, WHOLE), summed(x[:5], y[:5], WHOLE, client=1)
    for found in (many, few):
        assert np.linalg.norm(found.sums) == pytest.approx(2**CLIENT_BITS, rel=1e-3)
        assert np.linalg.norm(found.sums) <= longest_client(WHOLE)
    np.testing.assert_array_equal(few.counts, many.counts)
    exact = replace(WHOLE, noise=0.0)
    noise = [
        kind().total([many, few], replace(WHOLE, seed=seed)).sums - kind().total([many, few], exact).sums
        for seed in range(40)
    ]
    assert np.std(noise) == pytest.approx(2.0 * 2 * longest_client(WHOLE), rel=0.05)
    turned = replace(many, sums=-many.sums)
    moved = kind().total([turned], exact).sums - kind().total([many], exact).sums
    assert np.linalg.norm(moved) <= 2 * longest_client(WHOLE)
    nobody = kind().summarise(x[:0], y[:0], Sender(3, np.zeros(CLASSES, np.int64)), WHOLE)
    assert not nobody.sums.any()


def test_a_client_whose_sums_are_too_long_is_refused() -> None:
    x, y = samples()
    sender = Sender(0, np.bincount(y, minlength=CLASSES))
    found = summed(x, y, WHOLE)
    np.testing.assert_array_equal(kind().decode(kind().encode(found, sender, WHOLE), sender, WHOLE).sums, found.sums)
    longer = replace(found, sums=found.sums * 2)
    with pytest.raises(DecodeError, match="longer together than a client's may be"):
        kind().decode(kind().encode(longer, sender, WHOLE), sender, WHOLE)


def test_a_run_spends_its_share_on_the_head_and_the_rest_after_it(tiny_cache: object) -> None:
    config = tiny.config(
        clients=3, batch_size=24, head_init="unit-means", head_temperature=4.0, dp="samples", dp_head_share=0.4
    )  # fmt: skip
    first, *_, last = (record.epsilon for record in simulate(config))
    release = Steps(plan.head_noise(config), 1.0, 1)
    assert first == spent([release], 1e-5) == pytest.approx(0.4 * 8, rel=0.02)
    assert last is not None
    assert 7.9 < last <= 8
    alone = config.replace(method="head-only")
    for record in simulate(alone):
        assert record.epsilon == pytest.approx(8, rel=0.02)
    assert plan.head_noise(alone) < plan.head_noise(config)
    assert plan.head_noise(config.replace(head_init="probe")) == plan.head_noise(config.replace(dp="none")) == 0
