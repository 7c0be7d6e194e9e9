"""Each update code's mathematics by itself: rotations, quantisers, rounding."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.linalg import hadamard as hadamard_matrix
from scipy.stats import norm

from deltamask.codecs.updates import UpdateContext, hadamard, lloyd_max, qsgd
from tests.codecs.updates.test_updates import AT, gaussian, heavy, mean_nmse, there_and_back


@given(n=st.integers(0, 3_000_000))
def test_blocks_are_powers_of_two_and_waste_little(n: int) -> None:
    found = hadamard.blocks(n)
    sizes = [block.stop - block.start for block in found]
    assert all(size >= hadamard.MIN_BLOCK and size & (size - 1) == 0 for size in sizes)
    assert [block.start for block in found] == [sum(sizes[:i]) for i in range(len(sizes))]
    assert 0 <= sum(sizes) - n < hadamard.MIN_BLOCK
    assert len(found) < 16


def test_rotation_is_two_signed_hadamard_matrices() -> None:
    n = 384  # blocks of 256 and 128
    x = heavy(n)
    y, sigma = hadamard.rotate(x, AT)
    signs = 1 - 2 * np.unpackbits(hadamard._signs(n, AT), axis=1, bitorder="little").astype(np.float64)
    assert abs(signs.mean()) < 0.2
    for block, s in zip(hadamard.blocks(n), sigma, strict=True):
        size = block.stop - block.start
        H = hadamard_matrix(size) / math.sqrt(size)
        expected = H @ (signs[1, block] * (H @ (signs[0, block] * x[block])))
        np.testing.assert_allclose(s * y[block], expected, atol=1e-5 * np.abs(expected).max())
        assert np.square(y[block]).sum() == pytest.approx(size, rel=1e-5)
    np.testing.assert_allclose(hadamard.unrotate(y, sigma, n, AT), x, atol=1e-5 * np.abs(x).max())


@pytest.mark.parametrize("n", [1, 5, 127, 129, 70_001])
def test_rotation_comes_back(n: int) -> None:
    x = heavy(n)
    y, sigma = hadamard.rotate(x, AT)
    assert len(y) == hadamard.padded(n)
    np.testing.assert_allclose(hadamard.unrotate(y, sigma, n, AT), x, atol=1e-5 * np.abs(x).max())


def test_rotation_makes_any_vector_normal() -> None:
    """Two values alone among 2¹⁴: after one signed Hadamard matrix, three different values would be left."""
    x = np.zeros(1 << 14, np.float32)
    x[[100, 9000]] = 1, -0.5
    y, _ = hadamard.rotate(x, AT)
    assert len(np.unique(np.round(np.abs(y), 3))) > 100
    for z in (-2, -1, 0, 1, 2):
        assert (y < z).mean() == pytest.approx(norm.cdf(z), abs=0.02)


@pytest.mark.parametrize(("bits", "distortion"), [(1, 0.3634), (2, 0.1175), (3, 0.03454), (4, 0.009497)])
def test_lloyd_max_has_the_known_distortion(bits: int, distortion: float) -> None:
    """Max's table of 1960. The integral is SciPy's, and shares nothing with the iteration."""
    values = lloyd_max.centroids(bits)
    assert len(values) == 2**bits
    np.testing.assert_allclose(values, -values[::-1], atol=1e-15)
    edges = [-np.inf, *lloyd_max.midpoints(values), np.inf]
    parts = zip(edges[:-1], edges[1:], values, strict=True)
    error = sum(quad(lambda z, c=c: (z - c) ** 2 * norm.pdf(z), a, b)[0] for a, b, c in parts)
    assert error == pytest.approx(distortion, rel=5e-4)
    assert lloyd_max.centroids(1)[1] == pytest.approx(math.sqrt(2 / math.pi), abs=1e-12)


def test_drive_is_eden_at_one_bit() -> None:
    values = heavy(20_000)
    np.testing.assert_allclose(there_and_back("drive", values), there_and_back("eden1", values), rtol=1e-4, atol=1e-9)


# QSGD


def test_qsgd_rounds_to_neighbouring_levels_without_bias() -> None:
    values, times = heavy(700, 3), 2000
    total = np.zeros(len(values))
    for seed in range(times):
        symbols, norms = qsgd.round_levels(values, UpdateContext(seed, 0, 0))
        exact = qsgd.S * values / np.repeat(norms, qsgd.BUCKET)[:700]
        level = symbols - qsgd.S
        assert (np.abs(level - exact) < 1 + 1e-5).all()
        assert (level * exact >= 0).all()
        total += level
    np.testing.assert_allclose(norms, [np.abs(values[:512]).max(), np.abs(values[512:]).max()])
    spread = np.sqrt(np.abs(exact) % 1 * (1 - np.abs(exact) % 1) / times)  # of a Bernoulli's mean
    assert (np.abs(total / times - exact) <= 5 * spread + 1e-5).all()


def test_qsgd_error_is_that_of_stochastic_rounding() -> None:
    values = heavy(51_200)
    norms = np.repeat(np.abs(values.reshape(-1, qsgd.BUCKET)).max(axis=1), qsgd.BUCKET).astype(np.float64)
    fraction = qsgd.S * np.abs(values) / norms % 1
    expected = np.square(norms / qsgd.S) @ (fraction * (1 - fraction)) / np.square(values, dtype=np.float64).sum()
    assert mean_nmse("qsgd", values, 5) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("make", [gaussian, heavy])
def test_qsgd_levels_cost_their_entropy(make) -> None:
    symbols, _ = qsgd.round_levels(make(200_000), AT)
    share = np.bincount(symbols) / len(symbols)
    share = share[share > 0]
    entropy = -len(symbols) * (share @ np.log2(share))
    coded = qsgd.encode_symbols(symbols)
    assert entropy <= 8 * len(coded) <= 1.01 * entropy
    np.testing.assert_array_equal(qsgd.decode_symbols(coded, len(symbols)), symbols)


@given(seed=st.integers(0, 1000), n=st.integers(0, 400), skew=st.floats(0, 1))
def test_any_levels_come_back(seed: int, n: int, skew: float) -> None:
    rng = np.random.default_rng(seed)
    symbols = np.where(rng.random(n) < skew, 7, rng.integers(0, qsgd.SYMBOLS, n)).astype(np.int32)
    np.testing.assert_array_equal(qsgd.decode_symbols(qsgd.encode_symbols(symbols), n), symbols)
