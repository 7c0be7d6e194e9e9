"""Any bytes given to any decoder end in values or in DecodeError: no crash, no hang, no large allocation."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltamask.codecs import DecodeError, codecs
from deltamask.codecs.wire import png
from deltamask.codecs.wire.message import HEADER_BYTES, seal
from tests.support.wire_attack import SLOW, chunk
from tests.support.wire_cases import D, context, decoders, golden_payloads, message_of, true_length, wrap

ROOT = Path(__file__).resolve().parents[2]
MESSAGES = list(decoders())


def attack(what: str, **variables: str) -> dict[str, dict]:
    """Runs `wire_attack.py` as its own process: a segmentation fault is a negative exit status here."""
    command = [sys.executable, "-m", "tests.support.wire_attack", what]
    environment = dict(os.environ, **variables)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT, env=environment)
    assert done.returncode == 0, f"exit {done.returncode}: {done.stderr[-2000:]}"
    return json.loads(done.stdout)


@pytest.mark.parametrize("what", ["bytes", "fields", "truncations", "pictures", "forged"])
def test_attack_ends_in_values_or_decode_error(what: str) -> None:
    report = attack(what)
    assert set(report) == set(MESSAGES)
    tried = 0
    for name, result in report.items():
        assert set(result["seen"]) <= {"accepted", "refused"}, f"{name}: {result['seen']}"
        assert result["slowest"] < SLOW, f"{name} took {result['slowest']} s over a payload of a few hundred bytes"
        tried += sum(result["seen"].values())
        if what in ("bytes", "pictures"):  # a checksum or the container sees every one of these
            assert "accepted" not in result["seen"], f"{name} took a damaged payload: {result['seen']}"
    assert tried > 1000


@pytest.fixture(scope="session")
def checked_kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where kernels with bounds checks are kept, apart from those without."""
    return tmp_path_factory.mktemp("checked-kernels")


@pytest.mark.parametrize("what", ["fields", "forged"])
def test_no_kernel_reads_outside_its_arrays(what: str, checked_kernels: Path) -> None:
    """The same attacks on kernels that are compiled with bounds checks, which turn a stray read into an IndexError."""
    for name, result in attack(what, NUMBA_BOUNDSCHECK="1", NUMBA_CACHE_DIR=str(checked_kernels)).items():
        assert set(result["seen"]) <= {"accepted", "refused"}, f"{name}: {result['seen']}"


IMPOSSIBLE = [
    ("bfuse8", "<QII", (1, 0, 1), "no power of two"),
    ("bfuse8", "<QII", (1, 3, 1), "no power of two"),
    ("bfuse16", "<QII", (1, 1 << 19, 1), "no power of two"),
    ("bfuse32", "<QII", (1, 1 << 18, (1 << 32) - 1), "too large"),
    ("bfuse8", "<QII", (1, 4, 1 << 20), "fields speak of"),
    ("bfuse8-gated", "<HQII", (9, 1, 3, 1), "no power of two"),
    ("xor8", "<QI", (1, (1 << 32) - 1), "too large"),
    ("xor16", "<QI", (1, 1 << 20), "fields speak of"),
    ("bloom", "<IBI", (64, 33, 0), "with 33 hashes"),
    ("bloom", "<IBI", (64, 0, 0), "with 0 hashes"),
    ("bloom", "<IBI", (0, 3, 0), "with 3 hashes"),
    ("bloom", "<IBI", (64, 3, 8), "without policy P0"),
    ("bloom-p0", "<IBI", (64, 3, 8), "judges 8 positives"),
    ("rice", "<QB", (1 << 63, 1), "do not fit"),
    ("rice", "<QB", (8, 255), "do not fit"),
    ("rice", "<QB", (64, 0), "bytes of gaps"),
    ("gap", "<HH", (0, 4096), "must be positive"),
    ("gap", "<HH", (16, 0), "must be positive"),
    ("gap", "<HHQB", (0, 0, 1 << 63, 1), "do not fit"),
    ("gap", "<HHQB", (0, 0, 64, 0), "bytes of gaps"),
    ("gap", "<H", (16,), "shorter than its fields"),
]


@pytest.mark.parametrize(("name", "layout", "fields", "match"), IMPOSSIBLE)
def test_impossible_fields_are_named(name: str, layout: str, fields: tuple[int, ...], match: str) -> None:
    rest = b"" if layout == "<H" else bytes(64)
    message = seal(name, context().round, context().client, D, struct.pack(layout, *fields) + rest)
    # A picture of the size that the fields ask for, where that is less than the message: only then they are looked at.
    payload = png.write(message) if codecs[name].suffix == ".png" else message
    if match == "judges 8 positives":
        payload = png.write(seal(name, context().round, context().client, D, struct.pack(layout, *fields) + bytes(9)))
    with pytest.raises(DecodeError, match=match):
        codecs[name].decode(payload, context())


@pytest.mark.parametrize(
    ("count", "k", "gaps", "match"),
    [
        (1, 40, b"\xff" + bytes(5), "end early"),  # eight ones, a zero, and 39 of 40 low bits
        (1, 0, b"\xff" * 8, "end early"),  # no zero ever
        (1, 9, b"\xfd\x07", "beyond"),  # 512 + 511
        (1, 40, b"\xff" * (1 << 20) + bytes(8), "beyond"),  # 2²³ · 2⁴⁰ leaves 64 bits
        (3, 0, b"\xfe" + b"\xff" * 70 + bytes(2), "beyond"),
        (1, 0, b"\x00\x00", "bytes of gaps"),
        (1, 0, b"\x02", "bytes of gaps"),
    ],
)
def test_gaps_that_lead_nowhere(count: int, k: int, gaps: bytes, match: str) -> None:
    payload = seal("rice", context().round, context().client, D, struct.pack("<QB", count, k) + gaps)
    with pytest.raises(DecodeError, match=match):
        codecs["rice"].decode(payload, context())


@given(payload=st.binary(max_size=400), name=st.sampled_from(MESSAGES))
def test_arbitrary_bytes(payload: bytes, name: str) -> None:
    with pytest.raises(DecodeError):
        decoders()[name][2](payload)


@given(body=st.binary(max_size=300), name=st.sampled_from(list(codecs)))
def test_arbitrary_bodies_behind_a_valid_header(body: bytes, name: str) -> None:
    message = seal(name, context().round, context().client, D, body)
    payload = png.write(message) if codecs[name].suffix == ".png" else message
    try:
        positions = codecs[name].decode(payload, context())
    except DecodeError:
        return
    assert ((positions >= 0) & (positions < D)).all()
    assert (np.diff(positions) > 0).all()


@pytest.mark.parametrize("name", MESSAGES)
def test_every_kind_is_refused_by_every_other_decoder(name: str) -> None:
    for other, payload in golden_payloads().items():
        if other != name:
            with pytest.raises(DecodeError):
                decoders()[name][2](payload)


@pytest.mark.parametrize("name", [name for name in codecs if codecs[name].suffix == ".png"])
def test_bomb_is_refused_before_it_inflates(name: str) -> None:
    """The largest picture that a context of d positions could need stays a small multiple of d, whatever it says."""
    bomb = png.SIGNATURE + chunk(b"IHDR", (20_000).to_bytes(4) * 2 + b"\x08\0\0\0\0")
    bomb += chunk(b"IDAT", png.zlib.compress(bytes(200 << 20))) + chunk(b"IEND", b"")
    tracemalloc.start()
    with pytest.raises(DecodeError):
        codecs[name].decode(bomb, context())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < len(bomb) + 64 * D + 200_000


@pytest.mark.parametrize("name", [name for name in MESSAGES if golden_payloads()[name].startswith(png.SIGNATURE)])
def test_a_picture_has_one_shape_and_zero_padding(name: str) -> None:
    """Nothing can hide in the last row, and no second picture means the same message."""
    golden = golden_payloads()[name]
    pixels, (height, width) = png.read(golden, 1 << 20)
    length = true_length(golden, name)
    narrow = png.write(pixels[:length] + bytes(width))  # a row more than the message needs
    assert png.read(narrow, 1 << 20)[1] != (height, width)
    hidden = [narrow]
    if length < len(pixels):
        hidden.append(png.write(pixels[:-1] + b"\1"))
    for payload in hidden:
        with pytest.raises(DecodeError):
            decoders()[name][2](payload)
    assert any(true_length(p, n) < len(message_of(p)) for n, p in golden_payloads().items())


@pytest.mark.parametrize("name", ["gap", "mask", "mask-theta"])
def test_range_coded_bodies_end_where_they_should(name: str) -> None:
    golden = golden_payloads()[name]
    for more in (b"\1\2\3\4", bytes(64)):
        with pytest.raises(DecodeError, match="left over"):
            decoders()[name][2](wrap(golden + more * 4, golden))


@pytest.mark.parametrize("name", MESSAGES)
def test_header_is_checked_field_by_field(name: str) -> None:
    golden = golden_payloads()[name]
    message = message_of(golden)[: true_length(golden, name)]
    for at, field in ((0, "magic"), (2, "version"), (3, "kind"), (4, "round"), (8, "client"), (12, r"\bd\b")):
        changed = bytearray(message)
        changed[at] ^= 0x55
        with pytest.raises(DecodeError, match=field):
            decoders()[name][2](wrap(bytes(changed), golden))
    assert message[HEADER_BYTES - 4 : HEADER_BYTES] != bytes(4)
    changed = bytearray(message)
    changed[HEADER_BYTES - 1] ^= 1
    with pytest.raises(DecodeError, match="checksum"):
        decoders()[name][2](wrap(bytes(changed), golden, fix=False))


def test_rice_makes_no_room_for_more_flips_than_there_are_positions() -> None:
    body = struct.pack("<QB", 40_000_000, 0) + bytes(5_000_000)  # as many gaps of 0 as the bytes hold
    payload = seal("rice", context().round, context().client, D, body)
    tracemalloc.start()
    with pytest.raises(DecodeError, match="40000000 flips among"):
        codecs["rice"].decode(payload, context())
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
