"""`gap`: flips, range-coded given the side information that both sides hold (DESIGN, section 5). Exact.

A flip happens exactly when u lies between θ_g and θ_k, so flips crowd where |logit u − logit θ_g| is small. `gap_model`
turns that into a probability for each position; `constriction` codes the flips at these probabilities. Positions are
taken in chunks, each inside one layer; the model learns from a chunk after it has been coded, and the decoder follows.

Positions of one coding level share a call of the range coder, which then costs nanoseconds a position. Level 0 (below
2⁻¹²: most of d) is skipped unless a flag, one a chunk, says that a flip is there.

Flips that do not crowd there (of a client that lies, of another method) may cost more than their plain gaps. Then those
are sent, as `rice` codes them, under a scale of 0.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from deltamask.codecs import gap_model as model
from deltamask.codecs import rice, side_information
from deltamask.codecs.base import LARGEST_CHUNK, CodecContext, checked, codecs, learning_chunks
from deltamask.codecs.wire.message import DecodeError, Field, register_kind, seal, unseal
from deltamask.codecs.wire.range_coder import ABOUT_RANGE_CODED, RANGE_CODED, Coder, Decoder, Encoder, Tally
from deltamask.masking.masks import Positions

FIELDS = struct.Struct("<HH")  # scale: mean distance of a flip, 1/16 score units; amplitude of the shape, 2⁻¹²
PLAIN = FIELDS.pack(0, 0)  # plain gaps follow
UNIT = 2.0**-model.BITS  # of the model's integer probabilities


def run(coder: Coder, context: CodecContext, scale: int, amplitude: int, positions: Positions | None) -> Positions:
    """Code all flips. Encoding passes `positions`; decoding passes None and gets them from the coder."""
    learnt = model.Model(len(context.layers) + 1, amplitude)
    steps = model.distance_steps(scale)
    chunks_seen = chunks_with_rare = 0
    cells, order = np.empty(LARGEST_CHUNK, np.uint16), np.empty(LARGEST_CHUNK, np.int32)
    parts: list[Positions] = []
    for layer, start, stop in learning_chunks(context.d, context.layers):
        counts = np.zeros(model.CELLS, np.int64)
        chunk = cells[: stop - start]
        theta = np.ascontiguousarray(context.theta[start:stop], np.uint16)
        model.cells_of(
            context.noise.words(start, stop),
            theta,
            side_information.SCORE_OF_U,
            side_information.SCORE_OF_THETA,
            steps,
            chunk,
            counts,
        )
        q = learnt.probabilities(layer)
        level_of_cell = model.coding_levels(q[2])
        at_level = np.bincount(level_of_cell, weights=counts, minlength=model.LEVELS).astype(np.int64)
        rare = int(at_level[0])
        flipped = np.zeros(stop - start, np.int32)
        if positions is not None:
            low, high = np.searchsorted(positions, (start, stop))
            flipped[positions[low:high] - start] = 1

        at_level[0] = 0
        ends = np.cumsum(at_level)
        model.sort_by_level(chunk, level_of_cell, ends - at_level, order)
        coded = order[: ends[-1]]
        bits = flipped[coded]
        for level in np.flatnonzero(at_level):
            block = slice(ends[level] - at_level[level], ends[level])
            bits[block] = coder.code(bits[block], model.REPRESENTATIVE[level] * UNIT)
        flipped[coded] = bits

        if rare:
            # One flag a chunk, learnt as it goes: (with + 1/8) / (seen + 1).
            any_q = ((8 * chunks_with_rare + 1) << (model.BITS - 3)) // (chunks_seen + 1)
            is_rare = level_of_cell[chunk] == 0
            flag = np.array([flipped[is_rare].any()], np.int32)
            if coder.code(flag, model.clip(any_q) * UNIT)[0]:
                mean = int((counts * q[2])[level_of_cell == 0].sum()) // rare
                some = model.clip(max(mean, (1 << model.BITS) // (rare + 1)))  # one flip at least is known to be there
                flipped[is_rare] = coder.code(flipped[is_rare], some * UNIT)
                chunks_with_rare += 1
            chunks_seen += 1

        found = np.flatnonzero(flipped)
        parts.append(found + start)
        learnt.update(layer, counts, np.bincount(chunk[found], minlength=model.CELLS), q)
    return np.concatenate(parts)


def fit(positions: Positions, context: CodecContext) -> tuple[int, int]:
    """(scale, amplitude) for the header, from at least one flip."""
    at_distance = np.zeros(side_information.MAX_DISTANCE + 1, np.int64)
    total = 0
    for _, start, stop in learning_chunks(context.d, context.layers):
        distance = side_information.distances(context, start, stop)
        at_distance += np.bincount(distance, minlength=len(at_distance))
        low, high = np.searchsorted(positions, (start, stop))
        total += int(distance[positions[low:high] - start].sum())
    scale = min(max(16 * total // len(positions), 1), (1 << 16) - 1)
    expected = int((at_distance * model.SHAPE[model.distance_steps(scale)]).sum()) >> (model.BITS - 12)
    amplitude = min(max((len(positions) << 24) // max(expected, 1), 1), (1 << 16) - 1)
    return scale, amplitude


def model_bits(positions: Positions, context: CodecContext) -> float:
    """The entropy of the model: bits that an ideal coder would spend on these flips at its probabilities."""
    if len(positions) == 0:
        return 0.0
    tally = Tally()
    run(tally, context, *fit(positions, context), positions)
    return tally.spent


@dataclass(frozen=True)
class GapCodec:
    """Flips given u and θ_g. The empty set is an empty body."""

    name: str = "gap"
    exact: bool = True
    suffix: str = ".bin"
    false_positive_rate: float = 0.0

    def encode(self, positions: Positions, context: CodecContext) -> bytes:
        positions = checked(positions, context.d)
        body = b""
        if len(positions):
            encoder = Encoder()
            scale, amplitude = fit(positions, context)
            run(encoder, context, scale, amplitude, positions)
            body = min(FIELDS.pack(scale, amplitude) + encoder.finish(), PLAIN + rice.pack(positions), key=len)
        return seal(self.name, context.round, context.client, context.d, body)

    def decode(self, payload: bytes, context: CodecContext) -> Positions:
        body = unseal(payload, self.name, context.round, context.client, context.d)
        if not len(body):
            return np.zeros(0, np.int64)
        if len(body) < FIELDS.size:
            raise DecodeError(f"body of {len(body)} bytes is shorter than its fields, {FIELDS.size}")
        if body[: FIELDS.size] == PLAIN:
            return rice.unpack(body[FIELDS.size :], context.d)
        scale, amplitude = FIELDS.unpack_from(body)
        if not scale or not amplitude:
            raise DecodeError(f"scale {scale} and amplitude {amplitude} must be positive")
        decoder = Decoder(body[FIELDS.size :])
        positions = run(decoder, context, scale, amplitude, None)
        decoder.finish()
        return positions


register_kind(
    "gap",
    4,
    fields=(
        Field("scale", 2, "mean distance of a flip, 1/16 score unit; 0: plain gaps follow, as in `rice`"),
        Field("amplitude", 2, "of the model's shape, 2⁻¹²"),
    ),
    body=RANGE_CODED,
    about=ABOUT_RANGE_CODED,
)
codecs.register("gap")(GapCodec())
