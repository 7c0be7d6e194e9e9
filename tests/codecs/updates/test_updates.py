"""What holds for whatever is registered as an update codec, and each code's mathematics by itself."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltamask.codecs.updates import LARGEST, SERVER, DecodeError, UpdateContext, updates
from deltamask.codecs.wire.message import HEADER_BYTES, seal
from tests.support.wire_cases import wrap

NAMES = ["fp32", "fp16", "signsgd", "qsgd", "drive", "eden4", "eden1", "eden0.5"]
LENGTHS = [0, 1, 3, 1000, 4096, 100_003]
AT = UpdateContext(seed=5, round=7, client=3)
every_update = pytest.mark.parametrize("name", list(updates))


def gaussian(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1e-3, n).astype(np.float32)


def heavy(n: int, seed: int = 0) -> np.ndarray:
    """Student's t with 3 degrees of freedom: a few values carry much of the norm, as in real updates."""
    return (1e-3 * np.random.default_rng(seed).standard_t(3, n)).astype(np.float32)


def uneven(n: int, seed: int = 0) -> np.ndarray:
    """One value carries half of the norm, another a fifth: what a single Hadamard matrix does not mix well."""
    values = gaussian(n, seed)
    rest = float(np.linalg.norm(values))
    values[[n // 3, n // 2]] = 1.3 * rest, -0.8 * rest
    return values


def there_and_back(name: str, values: np.ndarray, at: UpdateContext = AT) -> np.ndarray:
    decoded = updates[name].decode(updates[name].encode(values, at), len(values), at)
    assert decoded.dtype == np.float32
    assert decoded.shape == values.shape
    assert np.isfinite(decoded).all()
    return decoded


def nmse(decoded: np.ndarray, values: np.ndarray) -> float:
    """‖x̂ − x‖² / ‖x‖²."""
    error = decoded.astype(np.float64) - values
    return float(np.square(error).sum() / np.square(values, dtype=np.float64).sum())


def mean_nmse(name: str, values: np.ndarray, times: int) -> float:
    return float(np.mean([nmse(there_and_back(name, values, UpdateContext(s, 0, 0)), values) for s in range(times)]))


# Whatever is registered


def test_registered_names() -> None:
    assert sorted(updates) == sorted(NAMES)
    for name in updates:
        assert updates[name].name == name
        assert updates[name].suffix == ".bin"


@every_update
@pytest.mark.parametrize("n", LENGTHS)
def test_round_trip(name: str, n: int) -> None:
    """Every length, and what training leaves behind when something stands still: all zeros, all equal, one value."""
    spike = np.zeros(n, np.float32)
    spike[n // 2 : n // 2 + 1] = -3
    np.testing.assert_array_equal(there_and_back(name, np.zeros(n, np.float32)), 0)
    for values in (gaussian(n), heavy(n), np.full(n, 0.25, np.float32), spike):
        decoded = there_and_back(name, values)
        np.testing.assert_array_equal(decoded, there_and_back(name, values))
        if n > 3:
            # signSGD knows nothing of a spike; half of the coordinates may have been all of the energy
            limit = {"fp32": 0, "fp16": 1e-6, "qsgd": 0.4, "drive": 0.6, "eden1": 0.6, "eden4": 0.011}
            assert nmse(decoded, values) <= limit.get(name, 1.0 if name == "signsgd" else 3.2)


@every_update
@pytest.mark.parametrize("power", [-100, -40, 60, 99])
def test_scale_of_the_update_does_not_matter(name: str, power: int) -> None:
    """The code of 2^p·x is the code of x with its scales times 2^p."""
    values = np.clip(heavy(3000, 1), -1, 1)
    factor = np.float32(2.0**power)
    np.testing.assert_array_equal(there_and_back(name, values * factor), there_and_back(name, values) * factor)


@every_update
@pytest.mark.parametrize(
    ("values", "match"),
    [
        ([1, math.nan, 2], "1 NaN or infinite values of 3"),
        ([math.inf, -math.inf, 2], "2 NaN or infinite values of 3"),
        ([1, 1.1 * LARGEST], "magnitude 1.39e"),
        ([[1, 2], [3, 4]], "shape"),
    ],
)
def test_updates_that_cannot_be_sent_are_named(name: str, values: list, match: str) -> None:
    with pytest.raises(ValueError, match=match) as caught:
        updates[name].encode(np.array(values, np.float32), AT)
    assert not isinstance(caught.value, DecodeError)


@every_update
def test_largest_values_survive(name: str) -> None:
    values = np.full(1000, LARGEST, np.float32)
    values[::2] *= -1
    there_and_back(name, values)


@every_update
def test_input_is_left_alone_and_may_be_strided(name: str) -> None:
    values = heavy(2000).astype(np.float64)
    before = values.copy()
    codec = updates[name]
    assert codec.encode(values[::2], AT) == codec.encode(values[::2].astype(np.float32), AT)
    np.testing.assert_array_equal(values, before)


@every_update
def test_a_payload_is_for_one_round_client_and_length(name: str) -> None:
    payload = updates[name].encode(heavy(1000), AT)
    for n, at, field in (
        (1000, UpdateContext(5, 8, 3), "round"),
        (1000, UpdateContext(5, 7, 4), "client"),
        (1000, UpdateContext(5, 7, SERVER), "client"),
        (999, AT, r"\bd\b"),
        (1 << 40, AT, r"\bd\b"),  # asked before anything is allocated
    ):
        with pytest.raises(DecodeError, match=field):
            updates[name].decode(payload, n, at)
    for other in set(updates) - {name}:
        with pytest.raises(DecodeError, match="kind"):
            updates[other].decode(payload, 1000, AT)


@every_update
@settings(max_examples=60)
@given(payload=st.binary(max_size=300), body=st.binary(max_size=200), n=st.integers(0, 600))
def test_arbitrary_bytes_end_in_values_or_decode_error(name: str, payload: bytes, body: bytes, n: int) -> None:
    with pytest.raises(DecodeError):
        updates[name].decode(payload, n, AT)
    try:
        values = updates[name].decode(seal(name, AT.round, AT.client, n, body), n, AT)
    except DecodeError:
        return
    assert values.shape == (n,)
    assert np.isfinite(values).all()


@every_update
def test_damage_and_forged_bodies(name: str) -> None:
    """Every truncation; every byte of the body set to what makes infinities and negative scales, checksum right."""
    n = 130
    payload = updates[name].encode(heavy(n), AT)
    for length in range(len(payload)):
        with pytest.raises(DecodeError):
            updates[name].decode(payload[:length], n, AT)
        if name == "qsgd" and length >= HEADER_BYTES + 4 and length % 4 == 0:
            continue  # fewer words of a range coder are other levels
        with pytest.raises(DecodeError):
            updates[name].decode(wrap(payload[:length], payload), n, AT)
    with pytest.raises(DecodeError):
        updates[name].decode(wrap(payload + bytes(12), payload), n, AT)
    for at in range(HEADER_BYTES, len(payload)):
        for value in (0x00, 0x7F, 0x80, 0xFF):
            forged = wrap(payload[:at] + bytes([value]) + payload[at + 1 :], payload)
            try:
                assert np.isfinite(updates[name].decode(forged, n, AT)).all()
            except DecodeError:
                continue


@pytest.mark.parametrize("name", ["signsgd", "qsgd", "drive", "eden4", "eden1", "eden0.5"])
@pytest.mark.parametrize("scale", [math.nan, math.inf, -1.0])
def test_impossible_scales_are_named(name: str, scale: float) -> None:
    payload = bytearray(updates[name].encode(heavy(1000), AT))
    payload[HEADER_BYTES : HEADER_BYTES + 4] = np.array(scale, "<f4").tobytes()
    with pytest.raises(DecodeError, match="scale is NaN, infinite or negative"):
        updates[name].decode(wrap(bytes(payload), bytes(payload)), 1000, AT)


def test_scales_that_overflow_are_refused() -> None:
    n = 4096
    signs = np.random.default_rng(0).bytes(n // 8)  # rotated back, some value is several times the scale
    body = np.array(3e38, "<f4").tobytes() + signs
    with pytest.raises(DecodeError, match="infinite"):
        updates["drive"].decode(seal("drive", AT.round, AT.client, n, body), n, AT)


@every_update
@pytest.mark.parametrize("make", [heavy, uneven])
def test_unbiased_as_declared(name: str, make) -> None:
    """Over 500 seeds, the mean is as near to x as the spread allows, seen from x and 50 random directions."""
    values, times = make(1000, 2), 500
    directions = np.vstack([values / np.linalg.norm(values), np.random.default_rng(0).normal(size=(50, 1000))])
    decoded = np.array([there_and_back(name, values, UpdateContext(seed, 1, 2)) for seed in range(times)])
    seen = (decoded.astype(np.float64) - values) @ directions.T
    allowed = 5 * seen.std(axis=0) / math.sqrt(times) + 1e-6 * np.linalg.norm(values)
    off = np.abs(seen.mean(axis=0)) > allowed
    assert off.any() != updates[name].unbiased, f"{off.sum()} directions are off"


@pytest.mark.parametrize("name", ["qsgd", "drive", "eden4", "eden1", "eden0.5"])
def test_errors_of_clients_and_rounds_are_independent(name: str) -> None:
    values = heavy(5000)
    one = there_and_back(name, values) - values
    for other in (UpdateContext(5, 7, 4), UpdateContext(5, 8, 3), UpdateContext(6, 7, 3), UpdateContext(5, 7, SERVER)):
        two = there_and_back(name, values, other) - values
        assert abs(np.corrcoef(one, two)[0, 1]) < 0.2


BITS = {"fp32": 32, "fp16": 16, "signsgd": 1, "drive": 1, "eden4": 4, "eden1": 1, "eden0.5": 0.5}


@pytest.mark.parametrize("name", list(BITS))
@pytest.mark.parametrize(("n", "slack"), [(10_000, 0.08), (60_000, 0.02), (1_009_792, 0.003), ((1 << 19) + 1, 0.003)])
def test_bits_a_value(name: str, n: int, slack: float) -> None:
    """Whole payloads, from a small adapter's length to the default task's, and just above a power of two."""
    bits = 8 * len(updates[name].encode(gaussian(n), AT)) / n
    assert BITS[name] * (1 - slack) <= bits <= BITS[name] * (1 + slack)


@pytest.mark.parametrize("make", [gaussian, heavy])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("drive", math.pi / 2 - 1),
        ("eden1", math.pi / 2 - 1),
        ("eden0.5", math.pi - 1),
        ("eden4", 1 / (1 - 0.009497) - 1),  # Max's distortion for 16 values
        ("fp16", None),
    ],
)
def test_error_is_the_papers(name: str, expected: float | None, make) -> None:
    """In high dimension, whatever the vector: that is what the rotation is for."""
    error = mean_nmse(name, make(50_000), 8)
    if expected is None:
        assert 0 < error < 2.0**-22  # half a unit in the eleventh bit
    else:
        assert error == pytest.approx(expected, rel=0.03)


def test_signsgd_is_the_best_multiple_of_the_signs() -> None:
    values = gaussian(100_000)
    decoded = there_and_back("signsgd", values)
    np.testing.assert_array_equal(np.sign(decoded), np.sign(values))
    assert nmse(decoded, values) == pytest.approx(1 - 2 / math.pi, rel=0.02)
    assert nmse(decoded, values) < min(nmse(0.99 * decoded, values), nmse(1.01 * decoded, values))
    payload = updates["signsgd"].encode(values[:13], AT)
    with pytest.raises(DecodeError, match="unused bits"):
        updates["signsgd"].decode(wrap(payload[:-1] + bytes([payload[-1] | 0x80]), payload), 13, AT)


def test_updates_load_no_torch() -> None:
    code = "import sys, deltamask.codecs.updates; print('torch' in sys.modules)"
    root = Path(__file__).resolve().parents[3]
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert answer.stdout.strip() == "False"


# The rotation
