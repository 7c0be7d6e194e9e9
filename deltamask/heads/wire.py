"""Statistics as one message: which classes, how many samples, their sums, and half of a symmetric matrix.

Body: how many rows; a class and a count each; then integers (`integers.py`). Each row's sums are written as what they
differ by from the rows before, the matrix as what it differs by from the product of the means: both are small.
"""

from __future__ import annotations

import struct

import numpy as np

from deltamask.codecs.wire.message import DecodeError, Field, register_kind, seal, unseal
from deltamask.heads.base import HeadSettings, Integers, Sender, Statistics
from deltamask.heads.integers import Reader, Writer, bit_length
from deltamask.heads.statistics import LIMIT, expected_rows

FIELDS = struct.Struct("<BH")  # fraction bits, rows
ROW = np.dtype([("label", "<u2"), ("count", "<u4")])


def register(kind: str, number: int) -> None:
    """Give a kind of statistics its number on the wire."""
    fields = (
        Field("fraction bits", 1, "features are rounded to multiples of 2^-this before they are summed"),
        Field("rows", 2, "sums that follow, each of some samples of a class"),
    )
    about = "each row's class and number of samples; then the sums, their lengths in bits range-coded"
    register_kind(kind, number, fields=fields, body="statistics", about=about)


def encode(kind: str, statistics: Statistics, sender: Sender, settings: HeadSettings) -> bytes:
    """The message. Without rows it is a header and says that there is nothing to say."""
    rows = np.zeros(len(statistics.labels), ROW)
    rows["label"], rows["count"] = statistics.labels, statistics.counts
    body = FIELDS.pack(settings.fraction_bits, len(rows)) + rows.tobytes()
    if len(rows):
        writer = Writer()
        _code_sums(writer, statistics.counts, statistics.sums.shape[1], statistics.sums)
        if statistics.gram is not None:
            _code_gram(writer, statistics.counts, statistics.sums, statistics.gram)
        body += writer.finish()
    return seal(kind, sender.round, sender.client, statistics.sums.shape[1], body)


def decode(
    kind: str, payload: bytes, sender: Sender, settings: HeadSettings, dims: int, *, means: int = 1, gram: bool = False
) -> Statistics:
    """The statistics in a message of this kind. Raises DecodeError for what no honest client can have sent:

    another number of samples than it has registered, sums or products beyond what so many samples can reach.
    """
    body = unseal(payload, kind, sender.round, sender.client, dims)
    if len(body) < FIELDS.size:
        raise DecodeError(f"body of {len(body)} bytes is shorter than its fields, {FIELDS.size}")
    fraction_bits, number = FIELDS.unpack_from(body)
    if fraction_bits != settings.fraction_bits:
        raise DecodeError(f"statistics with {fraction_bits} bits after the point, expected {settings.fraction_bits}")
    labels, counts = expected_rows(sender, settings, means)
    start = FIELDS.size + ROW.itemsize * number
    if len(body) < start:
        raise DecodeError(f"{number} rows in a body of {len(body)} bytes")
    rows = np.frombuffer(body[FIELDS.size : start], ROW)
    if not np.array_equal(rows["label"], labels):
        raise DecodeError(
            f"statistics of classes {rows['label'].tolist()}, registered are {labels.tolist()} with enough samples"
        )
    if not np.array_equal(rows["count"], counts):
        raise DecodeError(f"statistics of {rows['count'].tolist()} samples, registered are {counts.tolist()}")
    if not number:
        if len(body) > start:
            raise DecodeError("no class has enough samples, and yet statistics follow")
        return Statistics(labels, counts, np.zeros((0, dims), np.int64), _no_gram(dims) if gram else None)
    reader = Reader(body[start:])
    sums = _code_sums(reader, counts, dims, None)
    matrix = _code_gram(reader, counts, sums, None) if gram else None
    reader.finish()
    return Statistics(labels, counts, sums, matrix)


def _no_gram(dims: int) -> Integers:
    return np.zeros((dims, dims), np.int64)


def _code(coder: Writer | Reader, values: Integers | None, base: Integers, guess: Integers) -> Integers:
    """Values as differences from `base`; None where a Reader reads them."""
    if isinstance(coder, Reader):
        return base + coder.code(guess)
    assert values is not None
    return base + coder.code(values - base, guess)


def _code_sums(coder: Writer | Reader, counts: Integers, dims: int, sums: Integers | None) -> Integers:
    """Each row against the mean of the rows before it. sums: (rows, dims), None where they are read."""
    out = np.zeros((len(counts), dims), np.int64)
    before, samples = np.zeros(dims, np.int64), 0
    for row, count in enumerate(counts.tolist()):
        base = np.rint(before * (count / samples)).astype(np.int64) if samples else before
        out[row] = _code(coder, None if sums is None else sums[row], base, bit_length(base))
        largest = np.abs(out[row]).max(initial=0)
        if sums is None and largest > count * LIMIT:
            raise DecodeError(f"a sum of {largest} steps over {count} samples, at most {count * LIMIT}")
        before, samples = before + out[row], samples + count
    return out


def _code_gram(coder: Writer | Reader, counts: Integers, sums: Integers, gram: Integers | None) -> Integers:
    """The diagonal, then the upper triangle row by row, both against n · mean · meanᵀ. gram: None where it is read."""
    samples, total = int(counts.sum()), sums.sum(0).astype(np.float64)
    mean = total / samples
    base = np.rint(total * mean).astype(np.int64)
    diagonal = _code(coder, None if gram is None else gram.diagonal(), base, bit_length(base))
    # Cauchy–Schwarz: n Σ q² ≥ (Σ q)², up to the rounding of the base.
    if gram is None and ((diagonal < base - 2).any() or diagonal.max(initial=0) > samples * LIMIT**2):
        raise DecodeError("the Gram matrix's diagonal does not fit the sums")
    spread = (diagonal - base).clip(0).astype(np.float64)
    row, column = np.triu_indices(len(total), 1)
    base = np.rint(total[row] * mean[column]).astype(np.int64)
    guess = (bit_length(spread[row] * spread[column]) + 1) // 2
    upper = _code(coder, None if gram is None else gram[row, column], base, guess)
    most = diagonal[row].astype(np.float64) * diagonal[column]
    if gram is None and (upper.astype(np.float64) ** 2 > most * (1 + 1e-9)).any():
        raise DecodeError("the Gram matrix is not one of any samples: a product is beyond its factors")
    out = np.diag(diagonal)
    out[row, column] = out[column, row] = upper
    return out
