"""A payload taken apart: every pixel belongs to one section, and every byte has its meaning."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltamask import codecs
from deltamask.codecs import CodecContext, DecodeError, bfuse, xor
from deltamask.codecs.wire import dense, message, png
from deltamask.inspection import filter_lookup
from deltamask.inspection.anatomy import flips_in_byte, meaning, take_apart
from deltamask.inspection.part_costs import part_costs
from deltamask.masking.noise import PublicNoise
from tests.support.payloads import D, a_context, some_positions


@pytest.mark.parametrize("name", codecs.names())
@pytest.mark.parametrize("count", [0, 1, 700])
def test_sections_cover_every_pixel_once_and_bits_add_up_to_the_file(name: str, count: int) -> None:
    payload = codecs.get(name).encode(some_positions(count), a_context())
    anatomy = take_apart(payload, a_context())
    assert anatomy.kind == name
    assert [section.start for section in anatomy.sections] == [0, *(section.stop for section in anatomy.sections[:-1])]
    assert anatomy.sections[-1].stop == len(anatomy.pixels) == anatomy.width * anatomy.height
    message = png.read(payload, 10**6)[0][: len(anatomy.message)] if anatomy.is_picture else payload
    assert anatomy.message == message
    assert sum(part.bits for part in part_costs(anatomy)) == pytest.approx(8 * len(payload))
    assert sum(part.message_bytes for part in part_costs(anatomy)) == len(anatomy.pixels) - (
        0 if anatomy.is_picture else len(anatomy.pixels) - len(payload)
    )
    for section in anatomy.sections:
        for offset in (section.start, section.stop - 1):
            if section.stop > section.start:
                assert meaning(anatomy, offset).section == section
                assert meaning(anatomy, offset).value == anatomy.pixels[offset]


def test_header_fields_say_what_was_sealed() -> None:
    anatomy = take_apart(codecs.get("bfuse8").encode(some_positions(), a_context()), a_context())
    filter = anatomy.filter
    assert isinstance(filter, bfuse.FuseFilter)
    expected = {"kind": "8 (bfuse8)", "round": "7", "client": "3", "d": f"{D:,}", "seed": f"{filter.seed:#x}"}
    expected |= {"segment length": str(filter.segment_length), "segment count": str(filter.segment_count)}
    for name, text in expected.items():
        assert meaning(anatomy, anatomy.section(name).start).text.endswith(f"{name} = {text}")


@pytest.mark.parametrize("name", ["bfuse8", "bfuse16", "bfuse32", "xor8", "xor16"])
def test_a_pixel_leads_to_its_slot_and_the_slot_to_the_positions_that_ask_it(name: str) -> None:
    positions = some_positions()
    anatomy = take_apart(codecs.get(name).encode(positions, a_context()), a_context())
    filter, slots = anatomy.filter, anatomy.slots
    assert isinstance(filter, bfuse.FuseFilter | xor.XorFilter)
    assert slots is not None
    used = int(np.flatnonzero(filter.fingerprints)[5])
    offset = slots.start + used * anatomy.slot_bytes
    assert meaning(anatomy, offset).slots == (used, used)
    stored = int.from_bytes(anatomy.pixels[offset : offset + anatomy.slot_bytes], "little")
    assert stored == filter.fingerprints[used]
    asking = filter_lookup.askers(filter, used, used, D)
    assert len(np.intersect1d(asking, positions)) > 0
    by_hand = [p for p in range(0, D, 7) if used in filter_lookup.look_up(filter, p).slots]
    assert by_hand == [p for p in asking.tolist() if p % 7 == 0]


@pytest.mark.parametrize("count", [300, 25_000])
def test_rice_bytes_lead_to_the_flips_whose_gaps_they_hold(count: int) -> None:
    positions = some_positions(count)
    anatomy = take_apart(codecs.get("rice").encode(positions, a_context()), a_context())
    gaps, k = anatomy.section("gaps"), anatomy.pixels[anatomy.section("k").start]
    holds: dict[int, list[int]] = {offset: [] for offset in range(gaps.start, gaps.stop)}
    at = last = 0
    for position in positions.tolist():  # as docs/wire.md writes a gap: ⌊g / 2ᵏ⌋ ones, a zero, k low bits
        bits = ((position - last) >> k) + 1 + k
        for byte in range(at // 8, (at + bits - 1) // 8 + 1):
            holds[gaps.start + byte].append(position)
        at, last = at + bits, position + 1
    for offset, expected in holds.items():
        assert flips_in_byte(anatomy, positions, offset).tolist() == expected


def test_head_bytes_are_float_values() -> None:
    payload = dense.encode_dense32(np.array([1.5, -2.25], np.float32), 0, 3)
    anatomy = take_apart(payload, CodecContext(0, 3, np.zeros(10, np.uint16), PublicNoise(0, 0, 3)))
    start = anatomy.section("float32 values").start
    assert meaning(anatomy, start + 5).text == "byte 2 of 4 of value 1 = -2.25"


@given(st.binary(max_size=200))
def test_any_bytes_are_taken_apart_or_refused(data: bytes) -> None:
    for payload in (data, png.SIGNATURE + data, png.write(data), b"DM\x01\x03" + data):
        try:
            anatomy = take_apart(payload, a_context(512))
        except DecodeError:
            continue
        assert sum(part.bits for part in part_costs(anatomy)) == pytest.approx(8 * len(payload))
        for offset in range(0, len(anatomy.pixels), 5):
            meaning(anatomy, offset)


def test_a_kind_from_outside_is_shown_as_it_describes_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = (message.Field("count", 4, "how many follow"),)
    toy = message.Kind(230, fields, body="halves", about="two bytes each")
    monkeypatch.setitem(message.KINDS, "toy", toy)
    payload = message.seal("toy", 7, 3, D, (5).to_bytes(4, "little") + bytes(10))
    for anatomy in (take_apart(payload, a_context()), take_apart(png.write(payload), a_context())):
        assert anatomy.kind == "toy"
        assert meaning(anatomy, 24).text == "byte 1 of 4 of count = 5"
        assert anatomy.section("halves").about == "two bytes each"
        assert flips_in_byte(anatomy, some_positions(), 30) is None
        assert sum(part.bits for part in part_costs(anatomy)) == pytest.approx(8 * len(anatomy.payload))


@pytest.mark.parametrize("name", sorted(set(message.KINDS) - set(codecs.names())))
def test_every_other_kind_of_message_is_taken_apart(name: str) -> None:
    sealed = message.seal(name, 7, 3, D, bytes(64))
    anatomy = take_apart(sealed, a_context())
    assert anatomy.kind == name
    assert anatomy.message == sealed
    assert anatomy.sections[-2].stop == len(sealed)
