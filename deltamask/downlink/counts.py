"""Small integers, one a position, range-coded given what both sides know (`docs/wire.md`): the downlink's `counts`.

Positions are sorted into *cells* by what both sides know of them, and each cell learns how often each value occurs as
the message goes on, so no table travels. Frequencies are ratios of integers: identical on both sides.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from deltamask.codecs.wire.message import DecodeError
from deltamask.codecs.wire.range_coder import Decoder, Encoder

Integers = npt.NDArray[np.int32]
Cells = Callable[[int, int], npt.NDArray[np.integer]]  # (start, stop) → the cell of each of these positions

FIRST_BLOCK, LARGEST_BLOCK = 1 << 8, 1 << 16
LARGEST = 8  # values beyond ±LARGEST are escaped: their symbol says so, and the value follows on its own
TABLE = struct.Struct("<I")  # how many distinct values
TABLED = 1 << 12
POOLED = 4  # a cell that is new behaves as if it had seen this many values, distributed as those of all cells


def encode(values: Integers, most: int, cells: Cells, number: int) -> bytes:
    """values: (d,) in [−most, most]. cells: in [0, number), number ≤ 2¹⁶."""
    if len(values) and np.abs(values).max() > most:
        raise ValueError(f"values reach {np.abs(values).max()}, beyond ±{most}")
    coder = Encoder()
    _run(coder, values, len(values), most, cells, number)
    return coder.finish()


def decode(body: bytes | memoryview, d: int, most: int, cells: Cells, number: int) -> Integers:
    """The (d,) values. DecodeError if `body` is not what `encode` makes of any."""
    coder = Decoder(body)
    values = _run(coder, None, d, most, cells, number)
    coder.finish()
    return values


def _blocks(d: int) -> Iterator[tuple[int, int]]:
    start, size = 0, FIRST_BLOCK
    while start < d:
        yield start, min(d, start + size)
        start, size = start + size, min(2 * size, LARGEST_BLOCK)


def _run(coder: Encoder | Decoder, values: Integers | None, d: int, most: int, cells: Cells, number: int) -> Integers:
    """Code all values. Encoding passes them; decoding gets them from the coder."""
    reach = min(most, LARGEST)
    escape = 2 * reach + 1  # the symbol after those of −reach … reach
    symbols = escape + (most > reach)
    seen = np.zeros((number, symbols), np.int64)
    everywhere = np.ones(symbols, np.int64)
    everywhere[reach] = 2 * symbols  # 0 is the likeliest by far
    out = np.empty(d, np.int32)
    for start, stop in _blocks(d):
        cell_of = cells(start, stop).astype(np.uint16)  # what NumPy sorts by radix, four times as fast
        order = np.argsort(cell_of, kind="stable")
        ends = np.cumsum(np.bincount(cell_of, minlength=number))
        block = np.empty(stop - start, np.int32)
        if values is not None:
            asked = values[start:stop][order]
            block = np.where(np.abs(asked) <= reach, asked + reach, escape).astype(np.int32)
        pooled = everywhere / everywhere.sum()
        for cell in np.flatnonzero(np.diff(ends, prepend=0)):
            part = slice(ends[cell - 1] if cell else 0, ends[cell])
            p = (seen[cell] + POOLED * pooled) / (seen[cell].sum() + POOLED)
            block[part] = coder.code(block[part], p)
            new = np.bincount(block[part], minlength=symbols)
            seen[cell] += new
            everywhere += new
        coded = block - reach
        beyond = np.flatnonzero(block == escape)
        if len(beyond):
            wide = np.zeros(len(beyond), np.int32) if values is None else asked[beyond] + most
            wide = coder.code(wide, np.full(2 * most + 1, 1 / (2 * most + 1)))
            coded[beyond] = wide - most
            if (np.abs(coded[beyond]) <= reach).any():
                raise DecodeError("an escaped value needs no escape")
        out[start + order] = coded
    return out


def encode_tabled(values: npt.NDArray[np.integer]) -> bytes:
    """(d,) integers in [0, 2³²) that take few distinct values: a table of them with their frequencies, then the codes.

    With more than TABLED distinct values they follow as they are, in four bytes each.
    """
    distinct, index, times = np.unique(values, return_inverse=True, return_counts=True)
    head = TABLE.pack(len(distinct) if len(distinct) <= TABLED else 0)
    if len(distinct) > TABLED:
        return head + values.astype("<u4").tobytes()
    coder = Encoder()
    if len(distinct) > 1:
        coder.code(index.astype(np.int32), times / len(values))
    return head + distinct.astype("<u4").tobytes() + times.astype("<u4").tobytes() + coder.finish()


def decode_tabled(body: bytes | memoryview, d: int) -> npt.NDArray[np.uint32]:
    """The (d,) values. DecodeError if `body` is not what `encode_tabled` makes of any."""
    if len(body) < TABLE.size:
        raise DecodeError(f"body of {len(body)} bytes is shorter than its field, {TABLE.size}")
    (number,) = TABLE.unpack_from(body)
    rest = body[TABLE.size :]
    if number == 0:
        if len(rest) != 4 * d:
            raise DecodeError(f"{len(rest)} bytes of plain values, expected {4 * d}")
        return np.frombuffer(rest, "<u4").astype(np.uint32)
    if number > TABLED or len(rest) < 8 * number:
        raise DecodeError(f"a table of {number} values, at most {TABLED}, in {len(rest)} bytes")
    distinct, times = np.frombuffer(rest[: 8 * number], "<u4").astype(np.int64).reshape(2, number)
    if (np.diff(distinct) <= 0).any() or (times == 0).any() or times.sum() != d:
        raise DecodeError("the table's values do not ascend, or their frequencies do not add up")
    coder = Decoder(rest[8 * number :])
    index = np.zeros(d, np.int32)
    if number > 1:
        index = coder.code(index, times / d)
    coder.finish()
    return distinct[index].astype(np.uint32)
