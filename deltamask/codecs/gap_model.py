"""The model behind `gap`: how likely each position is to flip, in integers, so that both sides agree bit for bit.

A position's probability is the product of four things, each known to both sides before the position is coded:

    shape[x]               what flips of real training look like: x is the score distance |logit u − logit θ_g| over the
                           scale that the header sends; the table ships with the code, the header scales it
    counts by x            the shape as this client's flips so far correct it
    level and direction    a factor for θ_g's level and the direction of the possible move (at the clip, half the moves
                           lead outside)
    layer, direction, x    a factor for the layer, by coarse distance

Counts start from the shape as if some flips had been seen, and are updated after each chunk (`docs/codecs.md` says what
each part gained).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from deltamask.base.kernels import kernel
from deltamask.codecs import side_information

Integers = npt.NDArray[np.int64]

STEPS = 64  # distances: eight to the mean distance of a flip, the last one open
CELLS = side_information.LEVELS * 2 * STEPS  # (level, direction, x): x fastest
COARSE = 8
BITS = 24  # probabilities are in units of 2⁻²⁴, the coder's own precision
LOWEST, HIGHEST = 2, (1 << BITS) - (1 << 13)

AMPLITUDE_ONE = 1 << 12  # the header's amplitude in units of 2⁻¹²
SHAPE_FLIPS = 128  # the shape counts as this many flips seen at each x ...
SHAPE_POSITIONS = 1 << 12  # ... or as this many positions, whichever is less: far bins must be free to learn
LEVEL_FLIPS, LAYER_FLIPS = 8, 32  # the factors start as 1, as if this many flips had been seen and expected

# P(flip) at each x in units of 2⁻²⁴, pooled over recorded rounds (benchmarks/fit_gap.py).
SHAPE = np.array([
    7867002, 7320074, 6821102, 6321672, 5905046, 5385792, 4920648, 4536705, 4111170, 3783341, 3388843, 3030881,
    2721767, 2423034, 2109160, 1871427, 1614573, 1427572, 1252185, 1073722, 900831, 753352, 631278, 509382, 438573,
    355256, 294519, 227198, 185711, 141002, 105683, 81768, 62177, 47171, 34094, 20437, 19486, 11409, 11155, 5172,
    4423, 3096, 2167, 1517, 1062, 743, 520, 364, 255, 178, 125, 87, 61, 43, 30, 21, 15, 10, 7, 5, 4, 2, 2, 2,
], np.int64)  # fmt: skip

# Probabilities are coded at levels, four to an octave, so that positions of one level share a call of the range coder.
# Level 0, below 2⁻¹², is not coded position by position unless a chunk has a flip there.
_HALF_LEVELS = 4 * 11
LEVELS = 2 * _HALF_LEVELS + 1


@kernel
def _level_of(q):  # type: ignore[no-untyped-def]
    """The coding level of a probability; those above 1/2 mirror those below."""
    mirrored = q > (1 << 23)
    r = (1 << 24) - q if mirrored else q
    if r < 1 << 12:
        return 88 if mirrored else 0
    octave = 12
    while octave < 22 and r >> (octave + 1):
        octave += 1
    step = 4 * (octave - 12) + min((r >> (octave - 2)) - 4, 3)
    return 88 - step if mirrored else 1 + step


def _representatives() -> Integers:
    """The probability at which each level is coded: the middle of its cell."""
    below = [((2 * (4 + step % 4) + 1) << (step // 4 + 12)) >> 3 for step in range(_HALF_LEVELS)]
    return np.array([0, *below, *[(1 << BITS) - q for q in reversed(below)]], np.int64)


def clip(q: int) -> int:
    """A probability that the coder can take."""
    return min(max(q, LOWEST), HIGHEST)


REPRESENTATIVE = _representatives()


class Model:
    """Counts so far. `levels()` gives the coding level of each cell for a chunk, `update()` learns from that chunk."""

    def __init__(self, layers: int, amplitude: int) -> None:
        self.prior = np.clip(SHAPE * amplitude >> 12, LOWEST, HIGHEST)
        self.weight = np.minimum((SHAPE_FLIPS << BITS) // self.prior, SHAPE_POSITIONS)
        self.flips, self.total = np.zeros(STEPS, np.int64), np.zeros(STEPS, np.int64)
        self.level_flips = np.zeros(side_information.LEVELS * 2, np.int64)
        self.level_expected = np.zeros(side_information.LEVELS * 2, np.int64)
        self.layer_flips = np.zeros((layers, 2 * COARSE), np.int64)
        self.layer_expected = np.zeros((layers, 2 * COARSE), np.int64)

    def probabilities(self, layer: int) -> tuple[Integers, Integers, Integers]:
        """P(flip) of each cell, (CELLS,): by distance alone, with the level's factor, and with the layer's as well."""
        return _probabilities(
            self.prior, self.weight, self.flips, self.total, self.level_flips, self.level_expected,
            self.layer_flips[layer], self.layer_expected[layer],
        )  # fmt: skip

    def update(self, layer: int, cells: Integers, flips: Integers, q: tuple[Integers, Integers, Integers]) -> None:
        """Learn from a chunk: positions and flips in each cell, both (CELLS,), and what `probabilities` had said."""
        _update(
            cells, flips, q[0], q[1], self.flips, self.total, self.level_flips, self.level_expected,
            self.layer_flips[layer], self.layer_expected[layer],
        )  # fmt: skip


@kernel
def _scaled(q, flips, expected, prior_flips):  # type: ignore[no-untyped-def]
    """q · (flips + prior) / (expected + prior), clipped. The ratio is kept to 2⁻¹²; no product leaves 63 bits."""
    ratio = ((flips + prior_flips) << 24) // ((expected + (prior_flips << 24)) >> 12)
    return min(max((q * min(ratio, 1 << 24)) >> 12, 2), (1 << 24) - (1 << 13))


@kernel
def _probabilities(  # type: ignore[no-untyped-def]
    prior, weight, flips, total, level_flips, level_expected, layer_flips, layer_expected
):
    by_x, by_level, by_layer = np.empty(CELLS, np.int64), np.empty(CELLS, np.int64), np.empty(CELLS, np.int64)
    for cell in range(CELLS):
        x, group = cell % STEPS, cell // STEPS
        q = ((flips[x] << 24) + weight[x] * prior[x]) // (total[x] + weight[x])
        by_x[cell] = min(max(q, 2), (1 << 24) - (1 << 13))
        by_level[cell] = _scaled(by_x[cell], level_flips[group], level_expected[group], LEVEL_FLIPS)
        part = (group & 1) * COARSE + min(x >> 2, COARSE - 1)
        by_layer[cell] = _scaled(by_level[cell], layer_flips[part], layer_expected[part], LAYER_FLIPS)
    return by_x, by_level, by_layer


@kernel
def _update(  # type: ignore[no-untyped-def]
    cells, new_flips, by_x, by_level, flips, total, level_flips, level_expected, layer_flips, layer_expected
):
    for cell in range(CELLS):
        if cells[cell] == 0:
            continue
        x, group = cell % STEPS, cell // STEPS
        part = (group & 1) * COARSE + min(x >> 2, COARSE - 1)
        flips[x] += new_flips[cell]
        total[x] += cells[cell]
        level_flips[group] += new_flips[cell]
        level_expected[group] += cells[cell] * by_x[cell]
        layer_flips[part] += new_flips[cell]
        layer_expected[part] += cells[cell] * by_level[cell]


@kernel
def coding_levels(q):  # type: ignore[no-untyped-def]
    """uint8 coding level of each probability."""
    out = np.empty(len(q), np.uint8)
    for i in range(len(q)):
        out[i] = _level_of(q[i])
    return out


def distance_steps(scale: int) -> npt.NDArray[np.uint8]:
    """Table from score distance to x, for a `scale` (mean distance of a flip) in 1/16 score units."""
    distance = np.arange(side_information.MAX_DISTANCE + 1, dtype=np.int64)
    return np.minimum(distance * 128 // max(scale, 1), STEPS - 1).astype(np.uint8)


@kernel
def cells_of(u, theta, score_of_u, score_of_theta, steps, out, counts):  # type: ignore[no-untyped-def]
    """The cell of each position into `out` (uint16), and how many there are of each into `counts` (int64)."""
    for i in range(len(u)):
        score = np.int32(score_of_theta[theta[i]])
        level = min(max(np.int32((score + 6 * 256 + 128) >> 8), np.int32(0)), np.int32(12))
        down = np.int32(u[i] < theta[i])
        cell = (level * 2 + down) * STEPS + np.int32(steps[abs(np.int32(score_of_u[u[i]]) - score)])
        out[i] = cell
        counts[cell] += 1


@kernel
def sort_by_level(cells, level_of_cell, starts, order):  # type: ignore[no-untyped-def]
    """Indices of `cells` grouped by coding level, without level 0, into `order`. starts: where each level begins; it
    ends as where each level ends."""
    for i in range(len(cells)):
        level = level_of_cell[cells[i]]
        if level:
            order[starts[level]] = i
            starts[level] += 1
