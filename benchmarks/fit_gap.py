"""Fit `gap`'s SHAPE: P(flip) by score distance over the mean distance of a flip, pooled over recorded flips.

    python benchmarks/fit_gap.py FOLDER     # of flips, by codec_sizes.py --dump

Prints 64 integers in units of 2⁻²⁴ for `deltamask/codecs/gap_model.py`. Positions whose θ_g is at the clip are left
out: half of their moves lead outside.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tyro
from flip_files import read_flips

from deltamask.codecs import side_information

STEPS = 64


def main(folder: tyro.conf.Positional[Path]) -> None:
    """Print the fit over the .npz files in FOLDER."""
    flips, total = np.zeros(STEPS), np.zeros(STEPS)
    for positions, context in read_flips(folder):
        theta, noise = context.theta, context.noise
        score = side_information.SCORE_OF_THETA[theta].astype(np.int64)
        distance = np.abs(side_information.SCORE_OF_U[noise.words(0, len(theta))] - score)
        x = np.minimum(distance * 128 // max(1, round(16 * distance[positions].mean())), STEPS - 1)
        inside = np.abs(score) < 5.5 * side_information.UNIT
        total += np.bincount(x[inside], minlength=STEPS)
        flips += np.bincount(x[positions][inside[positions]], minlength=STEPS)
    shape = np.minimum.accumulate((flips + 0.02) / (total + 1))  # more distance, fewer flips
    rare = int(np.argmax(flips < 10))  # from here on too few to count: carry the slope on
    for x in range(rare, STEPS):
        shape[x] = shape[x - 1] * 0.7
    print(", ".join(str(max(2, round(value * (1 << 24)))) for value in shape))


if __name__ == "__main__":
    tyro.cli(main)
