"""File formats of others: MATLAB's, and pickles, which are read here without being unpickled."""

from __future__ import annotations

import pickletools
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from deltamask.datasets.base import DatasetError, Images


def entry(content: Any, key: str, path: Path) -> Any:
    """content[key]; DatasetError if the file has no such entry."""
    if not isinstance(content, dict) or key not in content:
        raise DatasetError(f"{path}: has no {key!r}; get the file again")
    return content[key]


def read_plain_pickle(path: Path) -> Any:
    """What a pickle of dicts, lists, strings, numbers and byte arrays says, read without unpickling it.

    CIFAR's Python version is pickled, and to unpickle is to run what the file asks for. Here its opcodes are listed by
    `pickletools`, and only those that spell plain data are understood; a call is kept as the list [function's name,
    arguments, state] and accepted if it spells a `uint8` array. DatasetError for anything else.
    """
    try:
        return _interpret(path.read_bytes())
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            f"{path}: no pickle of plain data ({error}); get the file again, or the binary version"
        ) from error


_LITERALS = {
    "BININT", "BININT1", "BININT2", "INT", "NONE", "NEWTRUE", "NEWFALSE", "GLOBAL",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "BINUNICODE", "SHORT_BINUNICODE", "UNICODE",
}  # fmt: skip


def _interpret(raw: bytes) -> Any:
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        start = marks.pop()
        values = stack[start:]
        del stack[start:]
        return values

    value: Any
    for opcode, value, _ in pickletools.genops(raw):
        match opcode.name:
            case "PROTO":
                continue
            case name if name in _LITERALS:
                stack.append({"NEWTRUE": True, "NEWFALSE": False}.get(name, value))
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case "MARK":
                marks.append(len(stack))
            case "TUPLE":
                stack.append(tuple(since_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                count = int(opcode.name[-1])
                stack[-count:] = [tuple(stack[-count:])]
            case "APPENDS":
                values = since_mark()
                stack[-1].extend(values)
            case "SETITEMS":
                values = since_mark()
                stack[-1].update(zip(values[::2], values[1::2], strict=True))
            case "BINPUT" | "LONG_BINPUT":
                memo[value] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[value])
            case "REDUCE":
                arguments = stack.pop()
                stack[-1] = [stack[-1], arguments]
            case "BUILD":
                state = stack.pop()
                stack[-1].append(state)
            case "STOP":
                return _arrays(stack.pop())
            case name:
                raise ValueError(f"it holds a {name}")


def _arrays(content: Any) -> Any:
    """The dict with its spelt-out arrays made into arrays."""
    return {key: _array(value) if _is_call(value) else value for key, value in content.items()}


def _is_call(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and isinstance(value[1], tuple)


def _array(call: list[Any]) -> Images:
    (function, _, (_, shape, kind, fortran, data)) = call
    if not str(function).endswith("multiarray _reconstruct") or kind[:2] != ["numpy dtype", ("u1", 0, 1)] or fortran:
        raise ValueError("it holds something other than an array of bytes")
    return np.frombuffer(data.encode("latin1"), np.uint8).reshape(shape)


def read_mat(path: Path, *names: str) -> dict[str, Any]:
    """Variables of a MATLAB file. DatasetError if it is torn, foreign or lacks one."""
    from scipy.io import loadmat

    try:
        content: dict[str, Any] = loadmat(path, variable_names=names, squeeze_me=True)
    except (OSError, ValueError, TypeError, NotImplementedError, zlib.error) as error:
        raise DatasetError(f"{path}: cannot be read as a MATLAB file ({error}); get the file again") from error
    for name in names:
        entry(content, name, path)
    return content
