"""`mask-theta`: a whole mask, given θ_g."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from deltamask.codecs import CodecContext, codecs, mask_theta
from deltamask.codecs.entropy import entropy_iid
from deltamask.codecs.mask import encode_mask as encode_blind
from deltamask.codecs.wire.message import HEADER_BYTES
from deltamask.masking.masks import ONE, THETA_MAX, THETA_MIN, Mask, Theta
from deltamask.masking.noise import PublicNoise
from tests.support.wire_cases import GOLDEN, MANY, context, many_flips

FEW = np.array([THETA_MIN, ONE // 5, 2 * ONE // 5, 3 * ONE // 5, 4 * ONE // 5, THETA_MAX])  # means of five masks


def drawn(theta: Theta, layers: tuple[int, ...], seed: int = 0) -> tuple[Mask, CodecContext]:
    """A private mask of a client that stayed at θ_g, and its context."""
    mask = np.random.default_rng(seed).integers(0, ONE, len(theta)) < theta
    return mask, CodecContext(1, 0, theta, PublicNoise(0, 1, 0), layers)


def test_a_mask_is_within_1_percent_of_its_entropy_given_theta() -> None:
    """θ_g takes few values after one round of five clients, and many where the server is damped."""
    d = 300_000
    rng = np.random.default_rng(1)
    many = (ONE / (1 + np.exp(-rng.normal(2, 2, d)))).clip(THETA_MIN, THETA_MAX)
    for theta in (rng.choice(FEW, d).astype(np.uint16), many.astype(np.uint16)):
        mask, of = drawn(theta, (0, d // 3, d))
        p = theta / ONE
        entropy = float(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)).sum())
        bits = 8 * len(mask_theta.encode_mask(mask, of))
        assert bits <= 1.01 * entropy + 64
        assert bits < 0.8 * 8 * len(encode_blind(mask))


def test_a_mask_that_knows_nothing_of_theta_costs_no_more_than_a_blind_one() -> None:
    """Each cell learns its own share of ones, however wrong its start."""
    d = 200_000
    theta = np.random.default_rng(2).choice(FEW, d).astype(np.uint16)
    mask = np.random.default_rng(3).random(d) < 0.07
    _, of = drawn(theta, (0, d))
    assert 8 * len(mask_theta.encode_mask(mask, of)) <= 1.01 * entropy_iid(int(mask.sum()), d) + 64


def test_layers_that_differ_are_learnt_apart() -> None:
    """In one layer all bits of θ_g = ½ are 1, in the other 0: next to nothing is left to say."""
    d = 200_000
    mask = np.arange(d) < d // 2
    of = CodecContext(1, 0, np.full(d, ONE // 2, np.uint16), PublicNoise(0, 1, 0), (0, d // 2, d))
    whole = CodecContext(1, 0, of.theta, of.noise, (0, d))
    apart, together = (8 * len(mask_theta.encode_mask(mask, each)) for each in (of, whole))
    assert apart < 0.15 * d
    assert apart < 0.8 * together


def test_probabilities_by_hand() -> None:
    """θ_g = ½ is the middle cell: half at first, then (8 + 16) / (8 + 32) over all layers, pooled into this one's."""
    cell = mask_theta.FARTHEST
    assert mask_theta.CELL_OF_THETA[ONE // 2] == cell
    model, one = mask_theta.Model(2), 1 << mask_theta.BITS
    start = model.probabilities(0)[cell]
    assert start == pytest.approx(one / 2, rel=1e-3)
    seen = np.zeros(mask_theta.CELLS, np.int64)
    seen[cell] = 8
    model.update(0, seen, seen)
    everywhere = (8 * one + 32 * int(start)) // 40
    assert model.probabilities(1)[cell] == everywhere
    assert model.probabilities(0)[cell] == (8 * one + 64 * everywhere) // 72
    model.update(0, seen * 10**9, seen * 10**9)
    assert 0 < model.probabilities(0).min() <= model.probabilities(0).max() < one  # both bits stay possible


def test_the_tables_are_the_wire() -> None:
    """Cells by score, 1/8 nat each: any change to them shows here."""
    assert mask_theta.CELLS == 97
    assert zlib.crc32(mask_theta.CELL_OF_THETA.tobytes()) == 0x42C6256F
    assert zlib.crc32(mask_theta.THETA_OF_CELL.astype("<i8").tobytes()) == 0x3DF9E60B
    assert (np.diff(mask_theta.THETA_OF_CELL) > 0).all()


def test_golden_payload_over_many_chunks() -> None:
    """Bytes of earlier versions decode to what they did then. The encoder still writes these bytes."""
    positions, of = many_flips()
    golden = (GOLDEN / f"mask-theta-{MANY}.bin").read_bytes()
    np.testing.assert_array_equal(codecs["mask-theta"].decode(golden, of), positions)
    assert codecs["mask-theta"].encode(positions, of) == golden


def test_whatever_theta_is_every_mask_comes_back() -> None:
    """θ_g outside the clip as well: the context is the caller's."""
    rng = np.random.default_rng(4)
    theta = rng.integers(0, ONE, 70_000).astype(np.uint16)
    for share in (0.0, 0.4, 1.0):
        mask = rng.random(len(theta)) < share
        of = CodecContext(2, 3, theta, PublicNoise(0, 2, 3), (0, 1, 1, 30_000, 70_000))
        codec = mask_theta.GIVEN_THETA
        payload = codec.seal(mask, of)
        np.testing.assert_array_equal(codec.unseal(payload, of), mask)
        assert len(payload) == HEADER_BYTES + len(mask_theta.encode_mask(mask, of))
    assert context().d < len(theta)
