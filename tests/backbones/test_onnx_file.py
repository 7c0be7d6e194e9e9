"""ONNX files: what is in them is read, and whatever bytes come instead are refused."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltamask.backbones.onnx_file import OnnxError, read
from tests.support.onnx_bytes import INT64, field, model, node, tensor

VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)
GOOD = model(
    [node("MatMul", "/a/MatMul", "x", "w"), node("Add", "/a/Add", "y", "b")],
    [tensor("w", VALUES), tensor("b", VALUES[0], packed=True), tensor("steps", np.zeros(2, np.int64), INT64)],
)


def test_tensors_and_factors_are_read() -> None:
    onnx = read(GOOD)
    assert onnx.tensors.keys() == {"w", "b"}  # floats
    assert np.array_equal(onnx.tensors["w"], VALUES)
    assert np.array_equal(onnx.tensors["b"], VALUES[0])
    assert onnx.factors == {"/a/MatMul": "w"}


def test_values_may_lie_in_float_data_and_a_scalar_has_no_dimensions() -> None:
    onnx = read(model([], [tensor("w", VALUES, raw=False), tensor("s", np.array(2.5, np.float32))]))
    assert np.array_equal(onnx.tensors["w"], VALUES)
    assert onnx.tensors["s"] == 2.5


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no tensors"),
        (b"PK\x03\x04 this is a zip", "of no known kind"),
        (GOOD[:-10], "longer than what is left"),
        (model([], [tensor("w", VALUES), tensor("w", VALUES)]), "two tensors are called w"),
        (model([], [field(1, 2**40) + field(2, 1) + field(8, b"w") + field(9, b"")]), "0 bytes for 1099511627776"),
        (model([], [field(1, 1) * 9 + field(2, 1) + field(9, b"\0" * 4)]), "more than 8 dimensions"),
        (model([], [field(1, b"\1" * 9) + field(2, 1) + field(9, b"\0" * 4)]), "more than 8 dimensions"),
        (model([], [field(8, b"\xff\xfe") + field(2, 1)]), "no ONNX file"),
        (field(7, field(5, 3)), "a number where a message is expected"),
        (b"\xff" * 20, "too long"),
        (b"\x3a\x05\x2b", "longer than what is left"),
    ],
)
def test_other_bytes_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(OnnxError, match=message):
        read(data)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_a_damaged_file_is_read_or_refused(at: int, value: int) -> None:
    with contextlib.suppress(OnnxError):
        read(GOOD[:at] + bytes([value]) + GOOD[at + 1 :])


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for content in (data, field(7, field(5, data)), field(7, field(1, data))):
        with contextlib.suppress(OnnxError):
            read(content)
