"""Public randomness is part of the wire contract: both sides must derive the same words, on any machine, for ever."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from deltamask.masking import noise
from deltamask.masking.noise import PublicNoise

STREAM = PublicNoise(seed=3, round=7, client=2)
FULL = STREAM.words(0, 5000)

# Never change these: payloads and runs that exist depend on them.
GOLDEN_SHARED = [41757, 40617, 51271, 56525, 20930, 49151, 10869, 2564]
GOLDEN_CLIENT = [11034, 16969, 58088, 34096, 18153, 13849, 23862, 29252]
GOLDEN_LAST = [3735, 23610, 2373, 45569, 22627, 41691, 48235, 54747]
GOLDEN_FAR = [28908, 49656, 21923, 3059]
GOLDEN_KEY = 0xC2E07781103F471199D333914C49F835


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_any_range_is_a_slice_of_the_full_stream(a: int, b: int) -> None:
    start, stop = min(a, b), max(a, b)
    words = STREAM.words(start, stop)
    assert words.dtype == np.uint16
    np.testing.assert_array_equal(words, FULL[start:stop])


@given(st.integers(0, 2**40), st.integers(0, 100), st.integers(0, 100))
def test_ranges_far_out_agree_where_they_overlap(start: int, skip: int, count: int) -> None:
    whole = STREAM.words(start, start + skip + count)
    np.testing.assert_array_equal(STREAM.words(start + skip, start + skip + count), whole[skip:])


def test_first_words_are_pinned() -> None:
    pinned = {
        PublicNoise(0, 1, None): GOLDEN_SHARED,
        PublicNoise(0, 1, 0): GOLDEN_CLIENT,
        PublicNoise(2**32 - 1, 10_000, 99_999): GOLDEN_LAST,
    }
    for stream, words in pinned.items():
        assert stream.words(0, 8).tolist() == words
    assert PublicNoise(0, 1, 0).words(10**9 + 3, 10**9 + 7).tolist() == GOLDEN_FAR


def test_keys_are_pinned() -> None:
    assert noise.key(0, "mask", round=1, client=0) == GOLDEN_KEY
    assert noise.torch_seed(0, "mask") < 2**63


def test_streams_differ_by_seed_round_client_and_purpose() -> None:
    arguments = [
        (seed, purpose, round, client)
        for seed in (0, 1, 11)
        for purpose in ("mask", "mask2", "batches")
        for round in (0, 1, 11)
        for client in (None, 0, 1, 11)
    ]
    keys = {noise.key(seed, purpose, round=round, client=client) for seed, purpose, round, client in arguments}
    assert len(keys) == len(arguments)


def test_words_of_different_streams_agree_as_rarely_as_chance() -> None:
    streams = [PublicNoise(0, 1, None), PublicNoise(0, 1, 0), PublicNoise(0, 1, 1), PublicNoise(0, 2, 0)]
    streams += [PublicNoise(1, 1, 0)]
    words = [stream.words(0, 1 << 17) for stream in streams]
    for left, right in combinations(words, 2):
        assert np.count_nonzero(left == right) < 15  # expected 2 = 2¹⁷ · 2⁻¹⁶
        correlation = np.corrcoef(left, right)[0, 1]
        assert abs(correlation) < 5 / np.sqrt(len(left))


@pytest.mark.parametrize("byte", ["low", "high"])
def test_words_are_uniform(byte: str) -> None:
    words = PublicNoise(5, 1, 0).words(0, 1 << 18)
    counts = np.bincount(words >> 8 if byte == "high" else words & 255, minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-4


def test_generators_repeat_and_share_no_state() -> None:
    first = noise.generator(1, "batches", round=2, client=3).integers(0, 2**32, 8)
    np.random.default_rng().random(5)
    again = noise.generator(1, "batches", round=2, client=3).integers(0, 2**32, 8)
    np.testing.assert_array_equal(first, again)
