"""Poisson batches and noise have the laws that the account rests on."""

from __future__ import annotations

import numpy as np
import pytest

from deltamask.masking import noise
from deltamask.privacy.mechanism import Noise, poisson_batches


def test_every_sample_comes_by_itself_at_the_rate() -> None:
    shard = np.arange(100, 180)
    batches = list(poisson_batches(shard, 0.2, 4000, noise.generator(3, "test")))
    chosen = np.array([np.isin(shard, batch) for batch in batches])
    np.testing.assert_allclose(chosen.mean(0), 0.2, atol=4 * np.sqrt(0.16 / 4000) + 0.005)
    sizes = chosen.sum(1)
    assert sizes.var() == pytest.approx(80 * 0.2 * 0.8, rel=0.1)  # binomial: fixed sizes would have none
    together = np.corrcoef(chosen.T)[np.triu_indices(80, 1)]
    assert abs(together.mean()) < 0.002  # fixed sizes: −1/79
    assert len(list(poisson_batches(shard, 0.2, 7, noise.generator(3, "test")))) == 7


def test_noise_is_gaussian_of_the_right_size_keyed_and_never_twice_the_same() -> None:
    source = Noise(2.5, 7, "test", round=3, client=1)
    first, second = source.draw(200_000), source.draw(200_000)
    for values in (first, second):
        assert values.std() == pytest.approx(2.5, rel=0.01)
        assert abs(values.mean()) < 0.03
        assert np.mean(np.abs(values) < 2.5) == pytest.approx(0.6827, abs=0.005)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.01
    np.testing.assert_array_equal(Noise(2.5, 7, "test", round=3, client=1).draw(200_000), first)
    for seed, round, client in ((8, 3, 1), (7, 4, 1), (7, 3, 2)):
        different = Noise(2.5, seed, "test", round=round, client=client).draw(200_000)
        assert abs(np.corrcoef(first, different)[0, 1]) < 0.01
