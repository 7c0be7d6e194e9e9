"""What each idea behind `gap` gains, in bits a flip on real flips.

    python benchmarks/codec_sizes.py fashion --dump runs/flips    # real flips as .npz files
    python benchmarks/gap_ideas.py runs/flips

"Oracle" rows are the entropy of the best table over some buckets, the table itself not paid for. "Model" rows are what
an ideal coder would spend with the decoder knowing nothing but the header: they can be reached.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import tyro
from flip_files import read_flips

from deltamask.codecs import CodecContext, gap, gap_model, side_information
from deltamask.codecs.entropy import entropy_iid, entropy_side
from deltamask.codecs.gap_model import Model
from deltamask.codecs.wire.range_coder import Tally
from deltamask.masking.masks import Positions

Probabilities = tuple[np.ndarray, np.ndarray, np.ndarray]
SHAPE_FLIPS = gap_model.SHAPE_FLIPS


class NoFactors(Model):
    """Distance alone."""

    def probabilities(self, layer: int) -> Probabilities:
        q = super().probabilities(layer)
        return q[0], q[0], q[0]


class NoLayer(Model):
    """Distance, level and direction."""

    def probabilities(self, layer: int) -> Probabilities:
        q = super().probabilities(layer)
        return q[0], q[1], q[1]


def oracle(bucket: np.ndarray, positions: Positions) -> float:
    """Bits of the best table over `bucket` (d,), the bucket of each position; the table itself is not paid for."""
    total, flips = np.bincount(bucket), np.bincount(bucket[positions], minlength=bucket.max() + 1)
    return sum(entropy_iid(int(k), int(n)) for k, n in zip(flips, total, strict=True) if k)


def model_bits(
    positions: Positions, of: CodecContext, kind: type[Model], shape_flips: int, amplitude: bool = True
) -> float:
    """Bits of one message under a model with some of its parts left out."""
    gap_model.Model, gap_model.SHAPE_FLIPS = kind, shape_flips  # type: ignore[misc]
    try:
        scale, fitted = gap.fit(positions, of)
        tally = Tally()
        gap.run(tally, of, scale, fitted if amplitude else gap_model.AMPLITUDE_ONE, positions)
        return tally.spent
    finally:
        gap_model.Model, gap_model.SHAPE_FLIPS = Model, SHAPE_FLIPS  # type: ignore[misc]


def main(folder: tyro.conf.Positional[Path]) -> None:
    """Print the table for the flips in FOLDER."""
    sums: defaultdict[str, float] = defaultdict(float)
    flips = 0
    never = 1 << 22  # the shape counts for so many flips that it is never corrected
    for positions, of in read_flips(folder):
        flips += len(positions)
        u, theta = of.noise.words(0, of.d).astype(np.int64), of.theta.astype(np.int64)
        bucket = side_information.buckets(of, 0, of.d).astype(np.int64)
        distance = bucket % side_information.DISTANCES
        sums["i.i.d. entropy"] += entropy_iid(len(positions), of.d)
        sums["oracle: |u − θ_g| in 256 buckets"] += oracle(np.abs(u - theta) >> 8, positions)
        sums["oracle: score distance"] += oracle(distance, positions)
        sums["oracle: score distance, direction"] += oracle(
            bucket // side_information.DISTANCES % 2 * 64 + distance, positions
        )
        sums["oracle: score distance, direction, level of θ_g (`entropy_side`)"] += entropy_side(positions, of)
        sums["model: shipped shape, scale in the header (2 bytes)"] += model_bits(
            positions, of, NoFactors, never, False
        )
        sums["model: and amplitude (2 bytes)"] += model_bits(positions, of, NoFactors, never)
        sums["model: and counts by distance"] += model_bits(positions, of, NoFactors, SHAPE_FLIPS)
        sums["model: and a factor for level and direction"] += model_bits(positions, of, NoLayer, SHAPE_FLIPS)
        sums["model: and a factor for the layer (`gap`)"] += model_bits(positions, of, Model, SHAPE_FLIPS)
    print(f"{flips:,} flips\n\n| | bits a flip |\n|---|---|")
    for label, bits in sums.items():
        print(f"| {label} | {bits / flips:.4f} |")


if __name__ == "__main__":
    tyro.cli(main)
