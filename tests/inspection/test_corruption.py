"""A changed byte: refused, unless the checksum is repaired; then exactly the positions that ask it are wrong."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest

from deltamask import codecs
from deltamask.inspection import filter_lookup
from deltamask.inspection.anatomy import take_apart
from deltamask.inspection.corruption import Change, change_file, change_message, effect_of, examples
from deltamask.masking.masks import Positions
from tests.support.payloads import D, a_context, some_positions


def decoder(name: str) -> Callable[[bytes], Positions]:
    return lambda payload: codecs.get(name).decode(payload, a_context())


@pytest.mark.parametrize("name", ["bfuse8", "rice", "gap"])
def test_a_changed_byte_is_refused_unless_the_checksum_is_repaired(name: str) -> None:
    positions = some_positions()
    payload = codecs.get(name).encode(positions, a_context())
    anatomy = take_apart(payload, a_context())
    before = codecs.get(name).decode(payload, a_context())
    for section in anatomy.sections:
        if section.role in ("header", "field", "slots", "body"):
            changed = change_message(anatomy, Change(section.start, anatomy.pixels[section.start] ^ 1, False))
            assert effect_of(changed, decoder(name), before).refused is not None


def test_a_repaired_fingerprint_loses_the_flips_that_ask_it_and_only_those() -> None:
    positions = some_positions()
    payload = codecs.get("bfuse8").encode(positions, a_context())
    anatomy = take_apart(payload, a_context())
    assert anatomy.filter is not None
    assert anatomy.slots is not None
    slot = filter_lookup.look_up(anatomy.filter, int(positions[10])).slots[1]
    before = codecs.get("bfuse8").decode(payload, a_context())
    changed = change_message(
        anatomy, Change(anatomy.slots.start + slot, anatomy.pixels[anatomy.slots.start + slot] ^ 1, True)
    )
    effect = effect_of(changed, decoder("bfuse8"), before)
    asking = filter_lookup.askers(anatomy.filter, slot, slot, D)
    assert effect.refused is None
    assert np.array_equal(effect.lost, np.intersect1d(asking, before))
    assert positions[10] in effect.lost
    assert np.isin(effect.gained, asking).all()
    assert effect.wrong_mask_bits == len(effect.lost) + len(effect.gained)


def test_a_wrong_client_in_the_header_is_refused_with_a_repaired_checksum() -> None:
    payload = codecs.get("bfuse8").encode(some_positions(), a_context())
    anatomy = take_apart(payload, a_context())
    before = codecs.get("bfuse8").decode(payload, a_context())
    client = anatomy.section("client").start
    effect = effect_of(change_message(anatomy, Change(client, 4, True)), decoder("bfuse8"), before)
    assert effect.refused == "client is 4, expected 3"


def test_repair_undoes_a_changed_checksum() -> None:
    for name in ("bfuse8", "gap"):
        payload = codecs.get(name).encode(some_positions(), a_context())
        anatomy = take_apart(payload, a_context())
        at = anatomy.section("CRC-32").start
        assert change_message(anatomy, Change(at, anatomy.pixels[at] ^ 255, True)) == payload
        assert change_message(anatomy, Change(at, anatomy.pixels[at] ^ 255, False)) != payload


def test_a_changed_file_is_caught_by_png_and_then_by_deflate() -> None:
    payload = codecs.get("bfuse8").encode(some_positions(), a_context())
    before = codecs.get("bfuse8").decode(payload, a_context())
    at = len(payload) // 2
    plain = effect_of(change_file(payload, at, payload[at] ^ 1, repair=False), decoder("bfuse8"), before)
    assert plain.refused == "PNG chunk b'IDAT' is damaged: checksum does not match"
    repaired = change_file(payload, at, payload[at] ^ 1, repair=True)
    (length,) = struct.unpack_from(">I", repaired, 33)
    assert struct.unpack_from(">I", repaired, 41 + length)[0] == zlib.crc32(repaired[37 : 41 + length])
    assert "inflate" in (effect_of(repaired, decoder("bfuse8"), before).refused or "")


@pytest.mark.parametrize("at", [0, 5, 9, 34])
def test_a_file_broken_at_its_start_is_still_bytes(at: int) -> None:
    payload = codecs.get("bfuse8").encode(some_positions(), a_context())
    changed = change_file(payload, at, payload[at] ^ 0x80, repair=True)
    assert len(changed) == len(payload)
    assert effect_of(changed, decoder("bfuse8"), some_positions()).refused is not None


@pytest.mark.parametrize("name", ["bfuse8", "bloom", "rice"])
def test_examples_are_refused_where_they_say_so_and_accepted_where_repaired(name: str) -> None:
    payload = codecs.get(name).encode(some_positions(), a_context())
    anatomy = take_apart(payload, a_context())
    before = codecs.get(name).decode(payload, a_context())
    effects = {
        title: effect_of(change_message(anatomy, change), decoder(name), before)
        for title, change in examples(anatomy).items()
    }
    assert effects.pop("Flip one bit").refused == "checksum does not match: the message was damaged"
    assert effects.pop("Speak for another client, repaired").refused == "client is 4, expected 3"
    assert ("Another seed, repaired" in effects) == (name == "bfuse8")
    if name != "rice":  # whose first field may no longer fit the message
        assert all(effect.refused is None and effect.wrong_mask_bits > 0 for effect in effects.values())
