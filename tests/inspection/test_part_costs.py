"""What the parts of a payload cost: bits of DEFLATE's codes, and slots in use."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from deltamask import codecs
from deltamask.codecs import DecodeError
from deltamask.inspection import filter_lookup
from deltamask.inspection.anatomy import take_apart
from deltamask.inspection.deflate_costs import byte_costs
from deltamask.inspection.part_costs import part_costs
from deltamask.masking.noise import generator
from tests.support.payloads import a_context, some_positions


def test_slots_that_hold_0_are_those_that_no_flip_uses() -> None:
    positions = some_positions(5000)
    anatomy = take_apart(codecs.get("bfuse32").encode(positions, a_context()), a_context())
    assert anatomy.filter is not None
    slots = {part.name: part.message_bytes // 4 for part in part_costs(anatomy)}
    # Unless a fingerprint is 0 by chance, which has probability 2⁻³² a key.
    assert slots["slots that hold 0"] == filter_lookup.slot_count(anatomy.filter) - len(positions)


@pytest.mark.parametrize("level", [0, 1, 6, 9])
@pytest.mark.parametrize("strategy", [zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY, zlib.Z_FIXED, zlib.Z_RLE])
def test_costs_of_a_stream_are_found_in_any_kind_of_block(level: int, strategy: int) -> None:
    rng = generator(3, "bytes")
    data = bytes(rng.integers(0, 9, 30_000).astype(np.uint8)) + b"abc" * 900 + rng.bytes(5000)
    deflate = zlib.compressobj(level, strategy=strategy)
    stream = deflate.compress(data) + deflate.flush()
    costs, rest = byte_costs(stream, len(data))
    assert costs.sum() + rest == pytest.approx(8 * len(stream))
    assert (costs > 0).all()
    if level == 0:
        assert (costs == 8).all()
    elif strategy == zlib.Z_FIXED:  # RFC 1951, 3.2.6: literals below 144 take 8 bits, the others 9
        literal = np.frombuffer(data[-5000:], np.uint8)
        assert set(costs[-5000:][literal < 144]) >= {8.0}
        assert costs.max() == 9


def test_frequent_bytes_cost_less() -> None:
    data = bytes(1000) + bytes(range(256))
    deflate = zlib.compressobj(6, strategy=zlib.Z_HUFFMAN_ONLY)
    costs, _ = byte_costs(deflate.compress(data) + deflate.flush(), len(data))
    assert set(costs[:1000]) == {1.0}
    assert costs[1001:].min() > 8


@pytest.mark.parametrize("cut", [3, 20, 400])
def test_truncated_stream_is_refused(cut: int) -> None:
    stream = zlib.compress(generator(3, "bytes").bytes(2000))
    with pytest.raises(DecodeError):
        byte_costs(stream[:-cut], 2000)
