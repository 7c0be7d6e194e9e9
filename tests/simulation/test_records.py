"""The schema of a record: what is written can be read, and what cannot be true is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from deltamask.config.ranges import field_bounds
from deltamask.simulation.records import (
    MAX_IMAGES,
    MAX_TEXT,
    ClientRecord,
    RecordError,
    RoundRecord,
    packed,
    parse_record,
    unpacked,
)
from deltamask.studies.tables import RECORDED
from tests.support.records import client, record

LATER = (
    "accuracy_threshold", "accuracy_sampled", "accuracy_worst", "accuracy_spread", "bpp_total", "broadcast_bytes",
    "flips", "kept", "false_flips", "entropy_iid", "entropy_side", "kept_by_layer", "theta_histogram", "skipped",
    "head_temperature", "class_accuracy", "client_accuracy", "client_accuracy_adapted", "alone", "epsilon", "hits",
)  # fmt: skip


def line(plain: dict[str, Any]) -> bytes:
    return json.dumps(plain).encode()


def test_the_hand_made_record_has_every_field() -> None:
    assert record(1).keys() == {field.name for field in fields(RoundRecord)}
    assert client(1).keys() == {field.name for field in fields(ClientRecord)}
    assert parse_record(line(record(1))) == record(1)


@pytest.mark.parametrize("name", LATER)
def test_a_record_of_an_earlier_revision_has_all_fields_when_read(name: str) -> None:
    plain = record(1)
    missing = {key: value for key, value in plain.items() if key != name}
    expected = plain["bpp_up"] + plain["bpp_down"] if name == "bpp_total" else None
    assert parse_record(line(missing)) == plain | {name: expected}


def test_fields_of_a_later_revision_are_left_out() -> None:
    later = record(1, privacy={"epsilon": 1.0}, clients=[client(0, norm=3.0)])
    assert parse_record(line(later)) == record(1, clients=[client(0)])


def test_what_is_not_finite_or_too_long_is_written_so_that_it_can_be_read() -> None:
    lost = ClientRecord(0, 10, 0.5, math.nan, 0, dropped="x" * 100_000)
    diverged = RoundRecord(
        round=1, accuracy=0.1, loss=math.inf, uplink_bytes=0, downlink_bytes=0, bpp_up=0.0, bpp_down=0.0,
        clients=[lost], seconds={}, entropy_iid=math.nan, skipped="y" * (MAX_TEXT + 1),
    )  # fmt: skip
    read = parse_record(line(diverged.to_json()))
    assert (read["loss"], read["clients"][0]["loss"], read["entropy_iid"]) == (None, None, None)
    assert len(read["skipped"]) == len(read["clients"][0]["dropped"]) == MAX_TEXT
    assert read["clients"][0]["dropped"].endswith("x …")


def test_hits_are_a_bit_an_image_and_come_back() -> None:
    hits = np.array([True, False, False, True, True, False, True, False, True])
    assert packed(hits) == "moA="  # 10011010 1, in base64
    for images in (0, 1, 8, 9, 2_000, MAX_IMAGES):
        some = np.random.default_rng(images).random(images) < 0.9
        text = packed(some)
        assert text is not None
        np.testing.assert_array_equal(unpacked(text, images), some)
        full = RoundRecord(
            round=1, accuracy=0.1, loss=0.0, uplink_bytes=0, downlink_bytes=0, bpp_up=0.0, bpp_down=0.0, clients=[],
            seconds={}, hits=text,
        )  # fmt: skip
        assert parse_record(line(full.to_json()))["hits"] == text  # however long: it is no reason
    assert packed(np.ones(MAX_IMAGES + 1, np.bool_)) is None


@pytest.mark.parametrize(("text", "fault"), [("moA=", "2 bytes for 2000 images"), ("m A=", "hits: "), ("m", "hits: ")])
def test_hits_that_do_not_fit_are_refused(text: str, fault: str) -> None:
    with pytest.raises(RecordError, match=fault):
        unpacked(text, 2000)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda r: r.update(round="1"), "round"),
        (lambda r: r.update(round=-1), "round"),
        (lambda r: r.update(round=True), "round"),
        (lambda r: r.update(round=10**30), "round"),
        (lambda r: r.update(accuracy=1.5), "accuracy"),
        (lambda r: r.update(accuracy=None), "accuracy"),
        (lambda r: r.update(accuracy=float("nan")), "accuracy"),
        (lambda r: r.update(loss=float("inf")), "loss"),
        (lambda r: r.update(uplink_bytes=10**20), "uplink_bytes"),
        (lambda r: r.update(uplink_bytes=99), "uplink_bytes: less than its clients sent"),
        (lambda r: r.update(bpp_up=-1.0), "bpp_up"),
        (lambda r: r.update(bpp_down=1e308), "bpp_down"),
        (lambda r: r.pop("bpp_up"), "bpp_up: Field required"),
        (lambda r: r.update(skipped="x" * (MAX_TEXT + 1)), "skipped"),
        (lambda r: r.update(kept_by_layer={"a": -1}), "kept_by_layer.a"),
        (lambda r: r.update(kept_by_layer={str(n): 1 for n in range(10_001)}), "kept_by_layer"),
        (lambda r: r.update(theta_histogram=[0] * 1001), "theta_histogram"),
        (lambda r: r.update(client_accuracy=[0.5, 1.5]), "client_accuracy.1"),
        (lambda r: r.update(client_accuracy=[0.5, None]), "client_accuracy.1"),
        (lambda r: r.update(client_accuracy=[0.5] * 100_001), "client_accuracy"),
        (lambda r: r.update(client_accuracy_adapted=[float("nan")]), "client_accuracy_adapted.0"),
        (lambda r: r.update(client_accuracy_adapted=0.5), "client_accuracy_adapted"),
        (lambda r: r.update(class_accuracy=["0.5"]), "class_accuracy.0"),
        (lambda r: r.update(class_accuracy=[0.5] * 10_001), "class_accuracy"),
        (lambda r: r.update(alone=[-0.5]), "alone.0"),
        (lambda r: r.update(epsilon=-0.5), "epsilon"),
        (lambda r: r.update(alone={"0": 0.5}), "alone"),
        (lambda r: r.update(clients={}), "clients"),
        (lambda r: r["clients"].append(client(0, samples=-1)), "clients.2.samples"),
        (lambda r: r["clients"].append(client(100_000)), "clients.2.client"),
        (lambda r: r.update(seconds={"train": "fast"}), "seconds.train"),
        (lambda r: r.update(seconds=None), "seconds"),
    ],
)
def test_what_cannot_be_a_record_is_refused(change: Callable[[dict[str, Any]], Any], where: str) -> None:
    plain = record(1)
    change(plain)
    with pytest.raises(RecordError) as caught:
        parse_record(line(plain))
    assert str(caught.value).startswith(where)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", [b"", b"[]", b"7", b"{", b"[" * 100_000, b"\xff\xfe", b'{"a": ' * 5000, b"\x00" * 10])
def test_what_is_no_json_object_is_refused(text: bytes) -> None:
    with pytest.raises(RecordError):
        parse_record(text)


def test_every_config_s_rounds_and_clients_fit_the_schema() -> None:
    (_, rounds), (_, clients) = field_bounds("rounds"), field_bounds("clients")
    assert rounds is not None
    assert clients is not None
    parse_record(line(record(int(rounds[0]), clients=[client(int(clients[0]) - 1)])))


def test_the_studies_columns_are_fields_of_the_record() -> None:
    assert set(RECORDED) <= {field.name for field in fields(RoundRecord)}
