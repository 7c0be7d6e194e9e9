"""How a filter answers for one position: the steps agree with the codec's kernel and with docs/wire.md."""

from __future__ import annotations

import pytest

from deltamask import codecs
from deltamask.codecs import bfuse, bloom, xor
from deltamask.inspection import filter_lookup
from deltamask.inspection.anatomy import take_apart
from tests.support.payloads import D, a_context, some_positions

FILTERS = ["bfuse8", "bfuse16", "bfuse32", "xor8", "xor16", "bloom", "bloom-p0", "bfuse8-gated", "bfuse16-gated"]


@pytest.mark.parametrize("name", FILTERS)
def test_lookup_step_by_step_agrees_with_the_codec(name: str) -> None:
    positions = some_positions()
    anatomy = take_apart(codecs.get(name).encode(positions, a_context()), a_context())
    assert anatomy.filter is not None
    kernel = {bfuse.FuseFilter: bfuse, xor.XorFilter: xor, bloom.BloomFilter: bloom}[type(anatomy.filter)]
    expected = kernel.members(anatomy.filter, 0, 4000)
    asked = [filter_lookup.look_up(anatomy.filter, position) for position in range(4000)]
    assert [answer.is_member for answer in asked] == expected.tolist()
    assert all(filter_lookup.look_up(anatomy.filter, position).is_member for position in positions.tolist())
    assert all(slot < filter_lookup.slot_count(anatomy.filter) for answer in asked for slot in answer.slots)


def test_lookup_hashes_as_the_wire_document_says() -> None:
    """docs/wire.md, by hand: Murmur's finaliser of p + seed, then h0, h1, h2."""
    anatomy = take_apart(codecs.get("bfuse8").encode(some_positions(), a_context()), a_context())
    filter = anatomy.filter
    assert isinstance(filter, bfuse.FuseFilter)
    word, length, count = (1 << 64) - 1, filter.segment_length, filter.segment_count
    for position in (0, 1, 12_345, D - 1):
        h = (position + filter.seed) & word
        for multiplier in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            h = ((h ^ h >> 33) * multiplier) & word
        h ^= h >> 33
        h0 = h * count * length >> 64
        slots = (h0, (h0 + length) ^ ((h >> 18) % length), (h0 + 2 * length) ^ (h % length))
        answer = filter_lookup.look_up(filter, position)
        assert (answer.hash, answer.slots, answer.wanted) == (h, slots, (h ^ h >> 32) & 0xFF)
