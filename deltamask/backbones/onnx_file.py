"""The tensors in an ONNX file, read without a package for it: a page of protobuf, and nothing that runs.

What is read of `onnx.proto`: ModelProto.graph (7); GraphProto.node (1), initializer (5); NodeProto.input (1), name (3),
op_type (4); TensorProto.dims (1), data_type (2), float_data (4), name (8), raw_data (9).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

FLOAT = 1  # TensorProto.DataType
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # what a field is written as
MOST_DIMS = 8
Field = tuple[int, "int | memoryview"]  # (number, value)


class OnnxError(ValueError):
    """These bytes are no ONNX file, or one in a form that is not read."""


@dataclass(frozen=True)
class Onnx:
    """tensors: the float32 initialisers by name, views of the file's bytes. factors: of each matrix product, by the
    name of its node, the name of its second factor: an exporter gives those tensors numbers for names."""

    tensors: dict[str, npt.NDArray[np.float32]]
    factors: dict[str, str]


def read(data: bytes) -> Onnx:
    """Raises OnnxError. Nothing is allocated for a size that the file only claims."""
    tensors: dict[str, npt.NDArray[np.float32]] = {}
    factors: dict[str, str] = {}
    try:
        for number, part in chain.from_iterable(_fields(_bytes(graph)) for at, graph in _fields(data) if at == 7):
            if number == 5:
                for name, tensor in _tensor(_bytes(part)):
                    if name in tensors:
                        raise OnnxError(f"two tensors are called {name}")
                    tensors[name] = tensor
            elif number == 1:
                node = list(_fields(_bytes(part)))
                inputs = [_text(value) for at, value in node if at == 1]
                if [_text(value) for at, value in node if at == 4] == ["MatMul"] and len(inputs) == 2:
                    factors.update({_text(value): inputs[1] for at, value in node if at == 3})
    except (IndexError, UnicodeDecodeError) as error:
        raise OnnxError("the file ends early, or is no ONNX file") from error
    if not tensors:
        raise OnnxError("it holds no tensors")
    return Onnx(tensors, factors)


def _tensor(part: memoryview) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """(name, values) of an initialiser of floats; nothing of one of another type."""
    dims: list[int] = []
    name, kind, content = "", 0, memoryview(b"")
    for number, value in _fields(part):
        if number == 1:  # one dimension, or several of them packed
            dims += [value] if isinstance(value, int) else _varints(value)
            if len(dims) > MOST_DIMS:
                raise OnnxError(f"a tensor of more than {MOST_DIMS} dimensions")
        elif number == 2 and isinstance(value, int):
            kind = value
        elif number == 8:
            name = _text(value)
        elif number in (4, 9):
            content = _bytes(value)
    if kind != FLOAT:
        return
    if math.prod(dims) * 4 != len(content):
        raise OnnxError(f"tensor {name}: {len(content):,} bytes for {' × '.join(map(str, dims))} floats")
    yield name, np.frombuffer(content, "<f4").reshape(dims)


def _fields(data: bytes | memoryview) -> Iterator[Field]:
    view, at = memoryview(data), 0
    while at < len(view):
        key, at = _varint(view, at)
        written = key & 7
        if written == VARINT:
            value, at = _varint(view, at)
            yield key >> 3, value
            continue
        size = {FIXED64: 8, FIXED32: 4}.get(written)
        if written == BYTES:
            size, at = _varint(view, at)
        if size is None or size > len(view) - at:
            raise OnnxError(f"the field at byte {at:,} is longer than what is left, or of no known kind")
        yield key >> 3, view[at : at + size]
        at += size


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    """(value, where the next byte is)."""
    value = 0
    for shift in range(0, 70, 7):
        value |= (view[at] & 127) << shift
        at += 1
        if view[at - 1] < 128:
            return value, at
    raise OnnxError(f"the number before byte {at:,} is too long")


def _varints(view: memoryview) -> list[int]:
    values: list[int] = []
    at = 0
    while at < len(view) and len(values) <= MOST_DIMS:
        value, at = _varint(view, at)
        values.append(value)
    return values


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise OnnxError("a number where a message is expected")
    return value


def _text(value: int | memoryview) -> str:
    return str(_bytes(value), "utf-8")
