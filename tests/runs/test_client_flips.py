"""What only the client knew of a payload, in both kinds of file."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltamask.codecs import DecodeError
from deltamask.masking.masks import Positions
from deltamask.runs import client_flips

D = 1000


def some(*chosen: int) -> Positions:
    return np.array(sorted(set(chosen)), np.int64)


@st.composite
def sets(draw: st.DrawFn) -> tuple[Positions, Positions, Positions]:
    """(Δ̂, Δ, Δ′): Δ′ part of both others, and a false flip may be one that was held back."""
    delta = draw(st.sets(st.integers(0, D - 1)))
    sent = {position for position in sorted(delta) if draw(st.booleans())}
    false = draw(st.sets(st.integers(0, D - 1)))
    return some(*sent, *false), some(*delta), some(*sent)


@given(sets())
def test_both_kinds_give_back_both_sets(chosen: tuple[Positions, Positions, Positions]) -> None:
    decoded, delta, sent = chosen
    for data in (
        client_flips.pack(delta, sent, D, 4, 2),
        client_flips.pack_beside(decoded, delta, sent, D, 4, 2),
    ):
        got = client_flips.unpack(data, decoded, D, 4, 2)
        assert np.array_equal(got[0], delta)
        assert np.array_equal(got[1], sent)


def test_what_the_payload_says_takes_no_room() -> None:
    flips = some(*range(0, D, 3))
    assert len(client_flips.pack(flips, flips, D, 4, 2)) > 150
    assert len(client_flips.pack_beside(flips, flips, flips, D, 4, 2)) < 90


def test_a_payload_that_lacks_a_sent_flip_is_refused() -> None:
    with pytest.raises(ValueError, match="of 2 flips that were sent, 1 are decoded"):
        client_flips.pack_beside(some(1, 2), some(1, 5), some(1, 5), D, 4, 2)


@pytest.mark.parametrize("beside", [False, True])
def test_a_file_of_another_payload_or_a_torn_one_is_refused(beside: bool) -> None:
    delta, sent = some(*range(0, D, 20)), some(*range(0, D, 40))
    decoded = some(*sent, 3, 7)
    data = (
        client_flips.pack_beside(decoded, delta, sent, D, 4, 2) if beside else client_flips.pack(delta, sent, D, 4, 2)
    )
    for wrong in ((D, 5, 2), (D, 4, 1), (D + 1, 4, 2)):
        with pytest.raises(DecodeError):
            client_flips.unpack(data, decoded, *wrong)
    for cut in range(1, len(data) + 1, 7):
        with pytest.raises(DecodeError):
            client_flips.unpack(data[:-cut], decoded, D, 4, 2)
    if beside:
        with pytest.raises(DecodeError):
            client_flips.unpack(data, decoded[1:], D, 4, 2)
