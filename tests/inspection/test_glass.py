"""One payload under the glass: every byte explained, every bit accounted for, every lookup the codec's own."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltamask import codecs
from deltamask.codecs import CodecContext, DecodeError, bfuse, bloom, xor
from deltamask.codecs.wire import dense, png
from deltamask.inspection import anatomy, corruption, filter_lookup
from deltamask.inspection.deflate_costs import byte_costs
from deltamask.masking.masks import Positions, to_fixed
from deltamask.masking.noise import PublicNoise, generator
from deltamask.runs import client_flips

D = 60_000
FILTERS = ["bfuse8", "bfuse16", "bfuse32", "xor8", "xor16", "bloom", "bloom-p0", "bfuse8-gated", "bfuse16-gated"]


def a_context(d: int = D) -> CodecContext:
    theta = to_fixed(generator(1, "theta").uniform(0.1, 0.9, d))
    return CodecContext(7, 3, theta, PublicNoise(5, 7, 3), (0, d // 2, d))


def some_positions(count: int = 700, d: int = D) -> Positions:
    return np.sort(generator(2, "positions").choice(d, count, replace=False)).astype(np.int64)


@pytest.mark.parametrize("name", codecs.names())
@pytest.mark.parametrize("count", [0, 1, 700])
def test_sections_cover_every_pixel_once_and_bits_add_up_to_the_file(name: str, count: int) -> None:
    payload = codecs.get(name).encode(some_positions(count), a_context())
    view = anatomy.look(payload, a_context())
    assert view.kind == name
    assert [section.start for section in view.sections] == [0, *(section.stop for section in view.sections[:-1])]
    assert view.sections[-1].stop == len(view.pixels) == view.width * view.height
    assert view.message == (payload if not view.picture else png.read(payload, 10**6)[0][: len(view.message)])
    assert sum(share.bits for share in anatomy.shares(view)) == pytest.approx(8 * len(payload))
    assert sum(share.message_bytes for share in anatomy.shares(view)) == len(view.pixels) - (
        0 if view.picture else len(view.pixels) - len(payload)
    )
    for section in view.sections:
        for offset in (section.start, section.stop - 1):
            if section.stop > section.start:
                assert anatomy.meaning(view, offset).section == section
                assert anatomy.meaning(view, offset).value == view.pixels[offset]


def test_header_fields_say_what_was_sealed() -> None:
    view = anatomy.look(codecs.get("bfuse8").encode(some_positions(), a_context()), a_context())
    filter = view.filter
    assert isinstance(filter, bfuse.FuseFilter)
    expected = {"kind": "8 (bfuse8)", "round": "7", "client": "3", "d": f"{D:,}", "seed": f"{filter.seed:#x}"}
    expected |= {"segment length": str(filter.segment_length), "segment count": str(filter.segment_count)}
    for name, text in expected.items():
        assert anatomy.meaning(view, view.section(name).start).text.endswith(f"{name} = {text}")


@pytest.mark.parametrize("name", ["bfuse8", "bfuse16", "bfuse32", "xor8", "xor16"])
def test_a_pixel_leads_to_its_slot_and_the_slot_to_the_positions_that_ask_it(name: str) -> None:
    positions = some_positions()
    view = anatomy.look(codecs.get(name).encode(positions, a_context()), a_context())
    filter, slots = view.filter, view.slots
    assert isinstance(filter, bfuse.FuseFilter | xor.XorFilter)
    assert slots is not None
    used = int(np.flatnonzero(filter.fingerprints)[5])
    offset = slots.start + used * view.slot_bytes
    assert anatomy.meaning(view, offset).slots == (used, used)
    stored = int.from_bytes(view.pixels[offset : offset + view.slot_bytes], "little")
    assert stored == filter.fingerprints[used]
    asking = filter_lookup.askers(filter, used, used, D)
    assert len(np.intersect1d(asking, positions)) > 0
    by_hand = [p for p in range(0, D, 7) if used in filter_lookup.look_up(filter, p).slots]
    assert by_hand == [p for p in asking.tolist() if p % 7 == 0]


@pytest.mark.parametrize("name", FILTERS)
def test_lookup_step_by_step_agrees_with_the_codec(name: str) -> None:
    positions = some_positions()
    view = anatomy.look(codecs.get(name).encode(positions, a_context()), a_context())
    assert view.filter is not None
    kernel = {bfuse.FuseFilter: bfuse, xor.XorFilter: xor, bloom.BloomFilter: bloom}[type(view.filter)]
    said = kernel.members(view.filter, 0, 4000)
    asked = [filter_lookup.look_up(view.filter, position) for position in range(4000)]
    assert [answer.inside for answer in asked] == said.tolist()
    assert all(filter_lookup.look_up(view.filter, position).inside for position in positions.tolist())
    assert all(slot < filter_lookup.slot_count(view.filter) for answer in asked for slot in answer.slots)


def test_lookup_hashes_as_the_wire_document_says() -> None:
    """docs/wire.md, by hand: Murmur's finaliser of p + seed, then h0, h1, h2."""
    view = anatomy.look(codecs.get("bfuse8").encode(some_positions(), a_context()), a_context())
    filter = view.filter
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


def test_slots_that_hold_nothing_are_those_no_flip_settled() -> None:
    positions = some_positions(5000)
    view = anatomy.look(codecs.get("bfuse32").encode(positions, a_context()), a_context())
    assert view.filter is not None
    held = {share.name: share.message_bytes // 4 for share in anatomy.shares(view)}
    assert held["slots that hold 0"] == filter_lookup.slot_count(view.filter) - len(positions)  # 2⁻³² a key to be wrong


@pytest.mark.parametrize("count", [300, 25_000])
def test_rice_bytes_lead_to_the_flips_whose_gaps_they_hold(count: int) -> None:
    positions = some_positions(count)
    view = anatomy.look(codecs.get("rice").encode(positions, a_context()), a_context())
    gaps, k = view.section("gaps"), view.pixels[view.section("k").start]
    holds: dict[int, list[int]] = {offset: [] for offset in range(gaps.start, gaps.stop)}
    at = last = 0
    for position in positions.tolist():  # as docs/wire.md writes a gap: ⌊g / 2ᵏ⌋ ones, a zero, k low bits
        bits = ((position - last) >> k) + 1 + k
        for byte in range(at // 8, (at + bits - 1) // 8 + 1):
            holds[gaps.start + byte].append(position)
        at, last = at + bits, position + 1
    for offset, expected in holds.items():
        assert anatomy.rice_positions(view, positions, offset).tolist() == expected


def test_head_bytes_are_float_values() -> None:
    payload = dense.encode_dense32(np.array([1.5, -2.25], np.float32), 0, 3)
    view = anatomy.look(payload, CodecContext(0, 3, np.zeros(10, np.uint16), PublicNoise(0, 0, 3)))
    start = view.section("float32 values").start
    assert anatomy.meaning(view, start + 5).text == "byte 2 of 4 of value 1 = -2.25"


@given(st.binary(max_size=200))
def test_any_bytes_are_looked_at_or_refused(data: bytes) -> None:
    for payload in (data, png.SIGNATURE + data, png.write(data), b"DM\x01\x03" + data):
        try:
            view = anatomy.look(payload, a_context(512))
        except DecodeError:
            continue
        assert sum(share.bits for share in anatomy.shares(view)) == pytest.approx(8 * len(payload))
        for offset in range(0, len(view.pixels), 5):
            anatomy.meaning(view, offset)


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
def test_torn_stream_is_refused(cut: int) -> None:
    stream = zlib.compress(generator(3, "bytes").bytes(2000))
    with pytest.raises(DecodeError):
        byte_costs(stream[:-cut], 2000)


# Breaking it


def decoder(name: str):  # type: ignore[no-untyped-def]
    return lambda payload: codecs.get(name).decode(payload, a_context())


@pytest.mark.parametrize("name", ["bfuse8", "rice", "gap"])
def test_a_changed_byte_is_refused_unless_the_checksum_is_repaired(name: str) -> None:
    positions = some_positions()
    payload = codecs.get(name).encode(positions, a_context())
    view = anatomy.look(payload, a_context())
    before = codecs.get(name).decode(payload, a_context())
    for section in view.sections:
        if section.role in ("header", "field", "slots", "body"):
            broken = corruption.change_pixel(view, section.start, view.pixels[section.start] ^ 1, repair=False)
            assert corruption.judge(broken, decoder(name), before).refused is not None


def test_a_repaired_fingerprint_loses_the_flips_that_ask_it_and_only_those() -> None:
    positions = some_positions()
    payload = codecs.get("bfuse8").encode(positions, a_context())
    view = anatomy.look(payload, a_context())
    assert view.filter is not None
    assert view.slots is not None
    slot = filter_lookup.look_up(view.filter, int(positions[10])).slots[1]
    before = codecs.get("bfuse8").decode(payload, a_context())
    broken = corruption.change_pixel(
        view, view.slots.start + slot, view.pixels[view.slots.start + slot] ^ 1, repair=True
    )
    verdict = corruption.judge(broken, decoder("bfuse8"), before)
    asking = filter_lookup.askers(view.filter, slot, slot, D)
    assert verdict.refused is None
    assert np.array_equal(verdict.lost, np.intersect1d(asking, before))
    assert positions[10] in verdict.lost
    assert np.isin(verdict.gained, asking).all()
    assert verdict.mask_bits == len(verdict.lost) + len(verdict.gained)


def test_repairing_a_lie_in_the_header_does_not_help() -> None:
    payload = codecs.get("bfuse8").encode(some_positions(), a_context())
    view = anatomy.look(payload, a_context())
    before = codecs.get("bfuse8").decode(payload, a_context())
    client = view.section("client").start
    verdict = corruption.judge(corruption.change_pixel(view, client, 4, repair=True), decoder("bfuse8"), before)
    assert verdict.refused == "client is 4, expected 3"


def test_repair_undoes_a_changed_checksum() -> None:
    for name in ("bfuse8", "gap"):
        payload = codecs.get(name).encode(some_positions(), a_context())
        view = anatomy.look(payload, a_context())
        at = view.section("CRC-32").start
        assert corruption.change_pixel(view, at, view.pixels[at] ^ 255, repair=True) == payload
        assert corruption.change_pixel(view, at, view.pixels[at] ^ 255, repair=False) != payload


def test_a_changed_file_is_caught_by_png_and_then_by_deflate() -> None:
    payload = codecs.get("bfuse8").encode(some_positions(), a_context())
    before = codecs.get("bfuse8").decode(payload, a_context())
    at = len(payload) // 2
    plain = corruption.judge(
        corruption.change_file(payload, at, payload[at] ^ 1, repair=False), decoder("bfuse8"), before
    )
    assert plain.refused == "PNG chunk b'IDAT' is damaged: checksum does not match"
    repaired = corruption.change_file(payload, at, payload[at] ^ 1, repair=True)
    (length,) = struct.unpack_from(">I", repaired, 33)
    assert struct.unpack_from(">I", repaired, 41 + length)[0] == zlib.crc32(repaired[37 : 41 + length])
    assert "inflate" in (corruption.judge(repaired, decoder("bfuse8"), before).refused or "")


@pytest.mark.parametrize("at", [0, 5, 9, 34])
def test_a_file_broken_at_its_start_is_still_bytes(at: int) -> None:
    payload = codecs.get("bfuse8").encode(some_positions(), a_context())
    broken = corruption.change_file(payload, at, payload[at] ^ 0x80, repair=True)
    assert len(broken) == len(payload)
    assert corruption.judge(broken, decoder("bfuse8"), some_positions()).refused is not None


# What only the client knew


@given(st.sets(st.integers(0, 999)), st.data())
def test_sidecar_gives_back_both_sets(flips: set[int], data: st.DataObject) -> None:
    delta = np.array(sorted(flips), np.int64)
    keep = data.draw(st.lists(st.booleans(), min_size=len(delta), max_size=len(delta)))
    sent = delta[np.array(keep, np.bool_)]
    got = client_flips.unpack(client_flips.pack(delta, sent, 1000, 4, 2), 1000, 4, 2)
    assert np.array_equal(got[0], delta)
    assert np.array_equal(got[1], sent)


def test_sidecar_of_another_payload_or_torn_is_refused() -> None:
    data = client_flips.pack(some_positions(50), some_positions(50)[::2], D, 4, 2)
    for wrong in ((D, 5, 2), (D, 4, 1), (D + 1, 4, 2)):
        with pytest.raises(DecodeError):
            client_flips.unpack(data, *wrong)
    for cut in range(1, len(data), 7):
        with pytest.raises(DecodeError):
            client_flips.unpack(data[:-cut], D, 4, 2)
