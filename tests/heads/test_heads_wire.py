"""Statistics as bytes: exact both ways, refused by name where no honest client can have sent them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltamask.codecs.wire.message import HEADER_BYTES, DecodeError, seal
from deltamask.heads import HeadSettings, Sender, Statistics, heads, temperature
from deltamask.heads.integers import MOST_BITS, Reader, Writer
from deltamask.heads.statistics import LIMIT, gram_matrix, row_sizes, to_steps

CLASSES, FEATURES = 4, 12
AGREED = HeadSettings(seed=3, classes=CLASSES, features=FEATURES, projection=8)
NAMES = [name for name in heads if name != "probe"]


def client(name: str, count: int = 90, seed: int = 0, agreed: HeadSettings = AGREED) -> tuple[Sender, Statistics]:
    rng = np.random.default_rng(seed)
    y = rng.choice(CLASSES, count, p=[0.5, 0.3, 0.2, 0])
    x = np.maximum(0, rng.normal(size=(count, FEATURES)) + rng.normal(size=(CLASSES, FEATURES))[y]).astype(np.float32)
    sender = Sender(5, np.bincount(y, minlength=CLASSES))
    return sender, heads[name].summarise(x, y, sender, agreed)


def assert_same(left: Statistics, right: Statistics) -> None:
    for field in dataclasses.fields(Statistics):
        np.testing.assert_array_equal(getattr(left, field.name), getattr(right, field.name), err_msg=field.name)


@given(
    values=st.lists(st.integers(-(2**53) + 1, 2**53 - 1) | st.integers(-5, 5), max_size=300),
    guess=st.integers(0, MOST_BITS), parts=st.integers(1, 4),
)  # fmt: skip
@settings(deadline=None)
def test_integers_come_back(values: list[int], guess: int, parts: int) -> None:
    pieces = np.array_split(np.array(values, np.int64), parts)
    writer = Writer()
    for piece in pieces:
        writer.code(piece, np.full(len(piece), guess))
    reader = Reader(writer.finish())
    for piece in pieces:
        np.testing.assert_array_equal(reader.code(np.full(len(piece), guess)), piece)
    reader.finish()


def test_integers_take_about_their_entropy() -> None:
    """Normal values of standard deviation 100 have log₂(100·√(2πe)) = 8.69 bits."""
    values = np.rint(np.random.default_rng(1).normal(0, 100, 50_000)).astype(np.int64)
    writer = Writer()
    writer.code(values, np.full(len(values), 7))
    assert 8.69 < 8 * len(writer.finish()) / len(values) < 8.69 * 1.02


@pytest.mark.parametrize("change", [lambda b: b + b"\0", lambda b: b[:-1], lambda b: b[:-1] + bytes([b[-1] | 0x80])])
def test_integers_end_where_they_should(change: Callable[[bytes], bytes]) -> None:
    values = np.array([3, -70, 12, 0, 900], np.int64)
    writer = Writer()
    writer.code(values, np.full(5, 4))
    body = writer.finish()
    assert body[-1] < 0x80  # a bit of the last byte is unused

    def read(changed: bytes) -> None:
        reader = Reader(changed)
        reader.code(np.full(5, 4))
        reader.finish()

    read(body)
    with pytest.raises(DecodeError, match=r"bits were needed|end early"):
        read(change(body))


@given(seed=st.integers(0, 10_000), count=st.integers(1, 300))
@settings(max_examples=20, deadline=None)
@pytest.mark.parametrize("name", NAMES)
def test_statistics_come_back(name: str, seed: int, count: int) -> None:
    sender, sent = client(name, count, seed)
    assert_same(heads[name].decode(heads[name].encode(sent, sender, AGREED), sender, AGREED), sent)


def test_gram_matrix_is_exact_at_the_largest_steps() -> None:
    steps = np.full((1000, 3), LIMIT, np.int64)
    steps[::3, 1] = -LIMIT
    np.testing.assert_array_equal(gram_matrix(steps), steps.T @ steps)


@given(count=st.integers(0, 500), floor=st.integers(1, 50), means=st.integers(1, 16))
def test_no_mean_is_of_fewer_samples_than_the_floor(count: int, floor: int, means: int) -> None:
    sizes = row_sizes(count, HeadSettings(0, 2, 2, min_samples=floor), means)
    assert all(size >= floor for size in sizes)
    assert len(sizes) <= means
    assert sum(sizes) == (count if count >= floor else 0)


@pytest.mark.parametrize("name", NAMES)
def test_class_below_the_floor_is_not_sent(name: str) -> None:
    x = np.arange(7 * FEATURES, dtype=np.float32).reshape(7, FEATURES) / 16
    y = np.array([0, 1, 1, 1, 3, 3, 1])
    sender = Sender(0, np.bincount(y, minlength=CLASSES))
    agreed = dataclasses.replace(AGREED, min_samples=3)
    sent = heads[name].summarise(x, y, sender, agreed)
    assert set(sent.labels.tolist()) == {1}
    assert sent.counts.sum() == 4
    if sent.gram is not None:  # nothing of the others is in the products either
        alone = heads[name].summarise(x[y == 1], y[y == 1], Sender(0, np.array([0, 4, 0, 0])), agreed)
        np.testing.assert_array_equal(sent.gram, alone.gram)


@pytest.mark.parametrize("name", NAMES)
def test_client_with_too_few_samples_says_so_in_a_few_bytes(name: str) -> None:
    x, y = np.ones((2, FEATURES), np.float32), np.array([0, 2])
    sender = Sender(0, np.bincount(y, minlength=CLASSES))
    sent = heads[name].summarise(x, y, sender, AGREED)
    payload = heads[name].encode(sent, sender, AGREED)
    assert len(payload) < HEADER_BYTES + 8
    assert_same(heads[name].decode(payload, sender, AGREED), sent)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e6, -3e38])
def test_features_without_a_place_in_the_fixed_point_are_named(bad: float) -> None:
    x = np.ones((3, 2), np.float32)
    x[1, 1] = bad
    with pytest.raises(FloatingPointError, match=r"features are NaN or infinite|a feature of magnitude"):
        to_steps(x, 4)


def test_features_that_would_round_to_nothing_are_named() -> None:
    x = np.full((5, 3), 0.02, np.float32)
    with pytest.raises(FloatingPointError, match="too small for 4 bits"):
        to_steps(x, 4)
    assert to_steps(x, 8).all()
    assert not to_steps(np.zeros((5, 3), np.float32), 4).any()


@pytest.mark.parametrize("name", NAMES)
def test_lies_about_counts_are_refused(name: str) -> None:
    kind = heads[name]
    sender, sent = client(name)
    payload = kind.encode(sent, sender, AGREED)
    fewer = Sender(sender.client, sender.registered - np.array([3, 0, 0, 0]))
    with pytest.raises(DecodeError, match=r"samples, registered are"):
        kind.decode(payload, fewer, AGREED)
    other_class = Sender(sender.client, sender.registered[[0, 1, 3, 2]])
    with pytest.raises(DecodeError, match="statistics of classes"):
        kind.decode(payload, other_class, AGREED)
    with pytest.raises(DecodeError, match="client is 5, expected 6"):
        kind.decode(payload, Sender(6, sender.registered), AGREED)
    with pytest.raises(DecodeError, match="bits after the point"):
        kind.decode(payload, sender, dataclasses.replace(AGREED, fraction_bits=5))


@pytest.mark.parametrize("name", NAMES)
def test_sums_beyond_what_the_samples_can_reach_are_refused(name: str) -> None:
    kind = heads[name]
    sender, sent = client(name)
    sums = sent.sums.copy()
    sums[0, 0] = sent.counts[0] * LIMIT + 1
    with pytest.raises(DecodeError, match="a sum of"):
        kind.decode(kind.encode(dataclasses.replace(sent, sums=sums), sender, AGREED), sender, AGREED)


@pytest.mark.parametrize("name", ["gram", "gram-rp"])
def test_products_of_no_samples_are_refused(name: str) -> None:
    kind = heads[name]
    sender, sent = client(name)
    assert sent.gram is not None
    for change, match in (
        ((0, 0, -(10**6)), "diagonal does not fit"),
        ((1, 1, 10**13), "diagonal does not fit"),
        ((0, 1, 10**9), "beyond its factors"),
    ):
        row, column, more = change
        gram = sent.gram.copy()
        gram[row, column] += more
        payload = kind.encode(dataclasses.replace(sent, gram=gram), sender, AGREED)
        with pytest.raises(DecodeError, match=match):
            kind.decode(payload, sender, AGREED)


def test_samples_other_than_the_registered_ones_are_a_callers_mistake() -> None:
    sender = Sender(0, np.array([2, 0, 0, 0]))
    with pytest.raises(ValueError, match="has registered"):
        heads["ncm"].summarise(np.ones((2, FEATURES), np.float32), np.array([0, 1]), sender, AGREED)


@given(body=st.binary(max_size=400), name=st.sampled_from(NAMES))
@settings(deadline=None)
def test_arbitrary_bodies_behind_a_valid_header(body: bytes, name: str) -> None:
    sender, sent = client(name)
    dims = sent.sums.shape[1]
    try:
        got = heads[name].decode(seal(f"head-{name}", 0, sender.client, dims, body), sender, AGREED)
    except DecodeError:
        return
    np.testing.assert_array_equal(got.counts, sent.counts)


@given(data=st.data(), name=st.sampled_from(NAMES))
@settings(deadline=None)
def test_damaged_integers_behind_honest_rows(data: st.DataObject, name: str) -> None:
    """Bytes changed behind the rows, checksum made right: values within bounds, or DecodeError."""
    sender, sent = client(name)
    payload = heads[name].encode(sent, sender, AGREED)
    body = bytearray(payload[HEADER_BYTES:])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(3 + 6 * len(sent.labels), len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        got = heads[name].decode(
            seal(f"head-{name}", 0, sender.client, sent.sums.shape[1], bytes(body)), sender, AGREED
        )
    except DecodeError:
        return
    assert (np.abs(got.sums) <= got.counts[:, None] * LIMIT).all()


def test_temperature_is_the_one_with_the_least_loss_for_every_split() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(300, FEATURES)).astype(np.float32), rng.integers(0, CLASSES, 300)
    owner = rng.integers(0, 6, 300)
    kind = heads["gram"]
    everyone = Sender(0, np.bincount(y, minlength=CLASSES))
    head = kind.solve(kind.total([kind.summarise(x, y, everyone, AGREED)], AGREED), AGREED)
    whole = temperature.losses(head, x, y, AGREED)
    parts = np.zeros(len(temperature.GRID), np.int64)
    for owned in range(6):
        own = owner == owned
        sender = Sender(owned, np.bincount(y[own], minlength=CLASSES))
        message = temperature.encode(temperature.losses(head, x[own], y[own], AGREED), sender)
        parts += temperature.decode(message, sender)
    np.testing.assert_array_equal(parts, whole)

    steps = np.rint(x * 16.0) / 16

    def loss(factor: float) -> float:
        logits = factor * (steps @ head.weight.T + head.bias)
        return float(np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(300), y]))

    chosen = temperature.best(whole)
    assert loss(chosen) == pytest.approx(min(map(loss, temperature.GRID)), abs=1e-6)
    assert loss(chosen) == pytest.approx(whole.min() / temperature.UNIT / 300, abs=1e-4)


def test_losses_beyond_the_samples_are_refused() -> None:
    sender = Sender(1, np.array([2, 0, 0, 0]))
    honest = np.full(len(temperature.GRID), 2 * temperature.LARGEST_LOSS)
    np.testing.assert_array_equal(temperature.decode(temperature.encode(honest, sender), sender), honest)
    with pytest.raises(DecodeError, match="a loss of"):
        temperature.decode(temperature.encode(honest + 1, sender), sender)
    with pytest.raises(DecodeError, match="bytes of losses"):
        temperature.decode(seal("head-temperature", 0, 1, len(temperature.GRID), b""), sender)
