"""Signed integers of any size as bytes: each value's length in bits is range-coded, its other bits follow as they are.

Both sides guess from what they have already how long each value is; only the difference to the guess is coded, with
frequencies that are learnt as the values go by, so no table travels. Guesses and frequencies are ratios of integers:
the same on every machine.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from deltamask.codecs.wire.message import DecodeError
from deltamask.codecs.wire.range_coder import Decoder, Encoder

Integers = npt.NDArray[np.int64]

MOST_BITS = 62  # of a value's magnitude
SYMBOLS = 2 * MOST_BITS + 1  # length − guess, from −MOST_BITS to MOST_BITS
FIRST_BLOCK, LARGEST_BLOCK = 64, 1 << 16
LENGTHS = struct.Struct("<I")  # bytes of the range-coded lengths; the plain bits follow


def bit_length(values: npt.NDArray[np.int64] | npt.NDArray[np.float64]) -> Integers:
    """Bits of each magnitude: 0 for 0, 1 for ±1, 2 for ±2 and ±3, …; exact below 2⁵³."""
    return np.frexp(np.abs(values).astype(np.float64))[1].astype(np.int64)


class Writer:
    """Collects values, part by part."""

    def __init__(self) -> None:
        self._coder = Encoder()
        self._plain: list[npt.NDArray[np.uint8]] = []

    def code(self, values: Integers, guess: Integers) -> Integers:
        """Append values (n,), |value| < 2⁵³, whose lengths in bits are expected to be `guess` (n,). Returns them."""
        lengths = bit_length(values)
        _lengths(self._coder, lengths, guess)
        for part, size in _chunks(values, lengths):
            # Below the leading one, which the length tells; the sign takes its place.
            zigzag = np.abs(part) + np.where(part < 0, 0, -(1 << np.maximum(size - 1, 0)) * (size > 0))
            at, shift = _bits_of(size)
            self._plain.append(((zigzag[at] >> shift) & 1).astype(np.uint8))
        return values

    def finish(self) -> bytes:
        """All that was written."""
        coded = self._coder.finish()
        plain = np.packbits(np.concatenate([np.zeros(0, np.uint8), *self._plain]), bitorder="little")
        return LENGTHS.pack(len(coded)) + coded + plain.tobytes()


class Reader:
    """Reads what a Writer wrote. Raises DecodeError where none has written this."""

    def __init__(self, body: bytes | memoryview) -> None:
        if len(body) < LENGTHS.size:
            raise DecodeError(f"integers of {len(body)} bytes are shorter than their field, {LENGTHS.size}")
        (coded,) = LENGTHS.unpack_from(body)
        if coded > len(body) - LENGTHS.size:
            raise DecodeError(f"integers say {coded} bytes of lengths, {len(body) - LENGTHS.size} are left")
        self._coder = Decoder(body[LENGTHS.size : LENGTHS.size + coded])
        self._plain = np.frombuffer(body[LENGTHS.size + coded :], np.uint8)
        self._at = 0  # in bits

    def code(self, guess: Integers) -> Integers:
        """The next len(guess) values."""
        lengths = _lengths(self._coder, None, guess)
        if self._at + int(lengths.sum()) > 8 * len(self._plain):
            raise DecodeError("integers end early")
        values = np.zeros(len(guess), np.int64)
        for part, size in _chunks(values, lengths):
            at, shift = _bits_of(size)
            first, stop = self._at >> 3, -(-(self._at + len(at)) // 8)
            bits = np.unpackbits(self._plain[first:stop], bitorder="little")[self._at & 7 :][: len(at)]
            np.add.at(part, at, bits.astype(np.int64) << shift)
            self._at += len(at)
            top = np.where(size > 0, np.int64(1) << np.maximum(size - 1, 0), 0)
            negative = part & top != 0
            part[:] = np.where(negative, -part, part + top)
        return values

    def finish(self) -> None:
        """Check that nothing is left."""
        self._coder.finish()
        if -(-self._at // 8) != len(self._plain) or (self._at % 8 and self._plain[-1] >> (self._at % 8)):
            raise DecodeError(f"{len(self._plain)} bytes of integers, {self._at} bits were needed")


def _chunks(values: Integers, lengths: Integers) -> Iterator[tuple[Integers, Integers]]:
    """Views of both, a block at a time: single bits take memory."""
    for start in range(0, len(values), LARGEST_BLOCK):
        yield values[start : start + LARGEST_BLOCK], lengths[start : start + LARGEST_BLOCK]


def _bits_of(size: Integers) -> tuple[Integers, Integers]:
    """(value, shift) of every single bit, value by value, lowest first."""
    at = np.repeat(np.arange(len(size)), size)
    return at, np.arange(len(at)) - np.repeat(np.cumsum(size) - size, size)


def _lengths(coder: Encoder | Decoder, lengths: Integers | None, guess: Integers) -> Integers:
    """Code lengths in bits (n,); where they are None, a Decoder reads them."""
    seen = np.ones(SYMBOLS, np.int64)
    out = np.empty(len(guess), np.int64)
    start, size = 0, FIRST_BLOCK
    while start < len(guess):
        part = slice(start, start + size)
        asked = np.zeros(len(guess[part]), np.int64) if lengths is None else lengths[part] - guess[part] + MOST_BITS
        symbols = coder.code(asked.astype(np.int32), seen / seen.sum())
        seen += 32 * np.bincount(symbols, minlength=SYMBOLS)
        out[part] = symbols + guess[part] - MOST_BITS
        start, size = start + size, min(2 * size, LARGEST_BLOCK)
    if len(out) and (out.min() < 0 or out.max() > MOST_BITS):
        raise DecodeError(f"an integer of {out.min() if out.min() < 0 else out.max()} bits")
    return out
