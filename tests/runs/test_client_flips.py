"""The client's own flips, kept beside a payload."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltamask.codecs import DecodeError
from deltamask.runs import client_flips
from tests.support.payloads import D, some_positions


@given(st.sets(st.integers(0, 999)), st.data())
def test_packed_flips_unpack_to_both_sets(flips: set[int], data: st.DataObject) -> None:
    delta = np.array(sorted(flips), np.int64)
    keep = data.draw(st.lists(st.booleans(), min_size=len(delta), max_size=len(delta)))
    sent = delta[np.array(keep, np.bool_)]
    got = client_flips.unpack(client_flips.pack(delta, sent, 1000, 4, 2), 1000, 4, 2)
    assert np.array_equal(got[0], delta)
    assert np.array_equal(got[1], sent)


def test_flips_of_another_payload_or_truncated_are_refused() -> None:
    data = client_flips.pack(some_positions(50), some_positions(50)[::2], D, 4, 2)
    for wrong in ((D, 5, 2), (D, 4, 1), (D + 1, 4, 2)):
        with pytest.raises(DecodeError):
            client_flips.unpack(data, *wrong)
    for cut in range(1, len(data), 7):
        with pytest.raises(DecodeError):
            client_flips.unpack(data[:-cut], D, 4, 2)
