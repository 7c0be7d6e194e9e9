"""How many bits each byte of a zlib stream takes, from the stream's DEFLATE codes (RFC 1951).

The Wire page shows with it where a picture's bytes go: an empty slot of a filter takes fewer bits than a used one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deltamask.base.kernels import kernel
from deltamask.codecs.wire.message import DecodeError

ZLIB_BITS = 8 * (2 + 4)  # its header and its checksum

_LENGTH_BASE = np.array([*range(3, 11), 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195,
                         227, 258], np.int64)  # fmt: skip
_LENGTH_EXTRA = np.array([0] * 8 + [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4 + [5] * 4 + [0], np.int64)
_DISTANCE_EXTRA = np.array([0, 0, *(extra for extra in range(14) for _ in (0, 1))], np.int64)
_ORDER = np.array([16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15], np.int64)


@kernel
def _bits(data, at, count):  # type: ignore[no-untyped-def]
    """(value of `count` bits from bit `at`, lowest first; the next bit), or (−1, at) beyond the end."""
    if at + count > 8 * len(data):
        return -1, at
    value = 0
    for i in range(count):
        value |= ((np.int64(data[(at + i) >> 3]) >> ((at + i) & 7)) & 1) << i
    return value, at + count


@kernel
def _table(lengths):  # type: ignore[no-untyped-def]
    """A canonical Huffman code: (how many codes of each length, symbols in order of their codes)."""
    count = np.zeros(16, np.int64)
    for length in lengths:
        count[length] += 1
    count[0] = 0
    start = np.zeros(17, np.int64)
    for length in range(1, 16):
        start[length + 1] = start[length] + count[length]
    symbols = np.zeros(len(lengths), np.int64)
    for symbol in range(len(lengths)):
        if lengths[symbol]:
            symbols[start[lengths[symbol]]] = symbol
            start[lengths[symbol]] += 1
    return count, symbols


@kernel
def _symbol(data, at, count, symbols):  # type: ignore[no-untyped-def]
    """(the next symbol, the next bit), or (−1, at) where no code fits."""
    code = first = index = 0
    for length in range(1, 16):
        bit, at = _bits(data, at, 1)
        if bit < 0:
            return -1, at
        code |= bit
        if code - first < count[length]:
            return symbols[index + code - first], at
        index += count[length]
        first = (first + count[length]) << 1
        code <<= 1
    return -1, at


@kernel
def _read_tables(data, at, order):  # type: ignore[no-untyped-def]
    """(code lengths of literals and lengths, of distances, the next bit) of a dynamic block; −1 for a bit if broken."""
    literals, distances = np.zeros(288, np.int64), np.zeros(32, np.int64)
    head, at = _bits(data, at, 14)
    if head < 0:
        return literals, distances, -1
    n_literals, n_distances, n_codes = (head & 31) + 257, ((head >> 5) & 31) + 1, (head >> 10) + 4
    small = np.zeros(19, np.int64)
    for i in range(n_codes):
        length, at = _bits(data, at, 3)
        if length < 0:
            return literals, distances, -1
        small[order[i]] = length
    count, symbols = _table(small)
    both = np.zeros(288 + 32 + 138, np.int64)
    filled = 0
    while filled < n_literals + n_distances:
        symbol, at = _symbol(data, at, count, symbols)
        if symbol < 0:
            return literals, distances, -1
        value, repeat = symbol, 1
        if symbol >= 16:
            width = 2 if symbol == 16 else (3 if symbol == 17 else 7)
            more, at = _bits(data, at, width)
            if more < 0 or (symbol == 16 and filled == 0):
                return literals, distances, -1
            value = both[filled - 1] if symbol == 16 else 0
            repeat = more + (11 if symbol == 18 else 3)
        for _ in range(repeat):
            both[filled] = value
            filled += 1
    literals[:n_literals] = both[:n_literals]
    distances[:n_distances] = both[n_literals : n_literals + n_distances]
    return literals, distances, at


@kernel
def _fill_costs(data, out, length_base, length_extra, distance_extra, order):  # type: ignore[no-untyped-def]
    """Fills `out` with the bits that each byte takes. Returns (bytes seen or −1 if broken, the next bit)."""
    at, done = 16, 0
    while True:
        head, at = _bits(data, at, 3)
        if head < 0:
            return -1, at
        if head >> 1 == 0:  # stored
            at = (at + 7) // 8 * 8
            length, at = _bits(data, at, 16)
            at += 16
            if length < 0 or done + length > len(out) or at + 8 * length > 8 * len(data):
                return -1, at
            out[done : done + length] = 8
            done, at = done + length, at + 8 * length
        elif head >> 1 == 3:
            return -1, at
        else:
            if head >> 1 == 1:
                literals, distances = np.full(288, 8, np.int64), np.full(32, 5, np.int64)
                literals[144:256], literals[256:280] = 9, 7
            else:
                literals, distances, at = _read_tables(data, at, order)
                if at < 0:
                    return -1, at
            count, symbols = _table(literals)
            distance_count, distance_symbols = _table(distances)
            while True:
                before = at
                symbol, at = _symbol(data, at, count, symbols)
                if symbol < 0 or symbol > 285:
                    return -1, at
                if symbol == 256:
                    break
                length = 1
                if symbol > 256:
                    more, at = _bits(data, at, length_extra[symbol - 257])
                    far, at = _symbol(data, at, distance_count, distance_symbols)
                    if more < 0 or far < 0 or far > 29:
                        return -1, at
                    length = length_base[symbol - 257] + more
                    at += distance_extra[far]
                if done + length > len(out):
                    return -1, at
                out[done : done + length] = (at - before) / length
                done += length
        if head & 1:
            return done, at


def byte_costs(stream: bytes, count: int) -> tuple[npt.NDArray[np.float64], int]:
    """(bits of each of the `count` bytes that a zlib stream inflates to, bits of everything else).

    The two add up to 8·len(stream). The bytes of a back-reference share its bits equally. Raises DecodeError if
    `stream` is no zlib stream of `count` bytes.
    """
    data, costs = np.frombuffer(stream, np.uint8), np.zeros(count)
    done, end = _fill_costs(data, costs, _LENGTH_BASE, _LENGTH_EXTRA, _DISTANCE_EXTRA, _ORDER)
    if done != count or -(-end // 8) + 4 != len(stream):
        raise DecodeError(f"no zlib stream of {count} bytes")
    return costs, 8 * len(stream) - round(float(costs.sum()))
