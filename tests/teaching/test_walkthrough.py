"""The walkthrough of a round: real steps, the package's own arithmetic, and questions that the round itself answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from deltamask.base.paths import data_dir
from deltamask.masking.masks import ONE, THETA_MAX, THETA_MIN
from deltamask.teaching.predictions import question
from deltamask.teaching.walkthrough import CHOICES, RANGES, Settings, example, play_round, read_settings

STEPS = ("theta", "u", "m_g", "theta_k", "flips", "kappa", "filter", "picture", "server", "posterior")

settings_strategy = st.builds(
    Settings,
    kappa=st.floats(*RANGES["kappa"]),
    bpe=st.sampled_from(CHOICES["bpe"]),
    shift=st.floats(*RANGES["shift"]),
    strength=st.floats(*RANGES["strength"]),
    clients=st.just(5),
    noise=st.sampled_from(CHOICES["noise"]),
    client=st.integers(0, 4),
)


@settings_of_hypothesis(max_examples=30)
@given(settings_strategy)
def test_the_laws_of_a_round_hold_whatever_the_numbers(settings: Settings) -> None:
    round = play_round(settings)
    client = round.shown
    assert np.array_equal(client.flips, np.flatnonzero((client.u < client.theta) != (client.u < round.theta)))
    assert len(client.sent) == int(np.ceil(settings.kappa * len(client.flips) * (1 - 1e-12)))
    assert np.isin(client.sent, client.flips).all()
    assert np.isin(client.sent, client.decoded).all()  # a filter never misses
    assert np.array_equal(np.flatnonzero(client.mask_decoded != client.mask), client.decoded)
    if len(client.held_back):
        kept = np.isin(client.flips, client.sent)
        assert client.kl[kept].min() >= client.kl[~kept].max()
    assert np.array_equal(round.ones, np.sum([client.mask_decoded for client in round.clients], axis=0))
    assert np.allclose(round.theta_next, np.clip(round.ones / 5 * ONE, THETA_MIN, THETA_MAX), atol=0.51)
    for step in STEPS:
        asked = question(round, step)
        if asked is not None:
            assert 0 <= asked.right < len(asked.options) == len(set(asked.options))


def test_as_trained_it_is_the_recorded_training() -> None:
    real = example()
    round = play_round(Settings(shift=0, strength=1, kappa=1))
    assert np.array_equal(round.theta, real.theta)
    for client, step in zip(round.clients, real.steps, strict=True):
        moved = (client.theta.astype(int) - round.theta.astype(int)) / ONE
        assert (np.sign(moved[step != 0]) == np.sign(step[step != 0])).all()
    assert sum(len(client.flips) for client in round.clients) == real.origin["flips_in_block"]


def test_without_learning_nothing_flips_and_the_filter_is_empty() -> None:
    round = play_round(Settings(strength=0))
    assert all(not len(client.flips) and not len(client.decoded) for client in round.clients)
    assert question(round, "kappa") is None
    assert question(round, "filter") is None
    flips = question(round, "flips")
    assert flips is not None
    assert flips.options[flips.right] == "none at all"


def test_shared_noise_makes_clients_agree() -> None:
    apart, together = play_round(Settings(noise="per_client", shift=-2)), play_round(Settings(noise="shared", shift=-2))
    assert all(np.array_equal(client.u, together.shown.u) for client in together.clients)
    between = [np.mean((w.ones > 0) & (w.ones < 5)) for w in (apart, together)]
    assert between[0] > 3 * between[1]


def test_answers_are_counted_in_the_round() -> None:
    round = play_round(Settings(shift=-3, bpe=8))
    client = round.shown
    expected = {"m_g": f"There are {client.mask.sum()}.", "server": f"It flips {len(client.false)}."}
    expected["flips"] = f"At {len(client.flips)}."
    expected["picture"] = f"It has {len(client.payload)} bytes"
    expected["filter"] = f"It has {len(client.filter.fingerprints)},"
    for step, start in expected.items():
        asked = question(round, step)
        assert asked is not None
        assert asked.why.startswith(start)


@pytest.mark.parametrize(
    ("given", "expected", "note"),
    [
        ({"kappa": "9"}, {"kappa": 1.0}, "kappa = '9' is out of range (0.1 to 1): using 1"),
        ({"kappa": "nan"}, {"kappa": 0.7}, "kappa = 'nan' is out of range (0.1 to 1): using 0.7"),
        ({"shift": "-inf"}, {"shift": -5.0}, "shift = '-inf' is out of range (-5 to 1): using -5"),
        ({"bpe": "7"}, {"bpe": 8}, "bpe = '7' is none of 8, 16, 32: using 8"),
        ({"noise": "<b>"}, {"noise": "per_client"}, "noise = '<b>' is none of shared, per_client: using per_client"),
        ({"clients": "2", "client": "4"}, {"client": 1}, "only 2 clients take part: showing client 1"),
        ({"bpe": "32", "kappa": "0.5", "other": "x"}, {"bpe": 32, "kappa": 0.5}, None),
    ],
)
def test_settings_of_a_link_are_clamped_and_noted(
    given: dict[str, str], expected: dict[str, object], note: str | None
) -> None:
    settings, notes = read_settings(given)
    assert {name: getattr(settings, name) for name in expected} == expected
    assert notes == ([note] if note else [])
    play_round(settings)


def test_the_example_is_small_and_needs_no_other_data() -> None:
    assert (data_dir() / "walk" / "example.json").stat().st_size < 20_000
    assert len(example().theta) == example().side ** 2 == 144
