"""Bytes of whole masks, sent blind and given θ_g, over a run of FedPM.

    python benchmarks/mask_sizes.py fashion-fedpm [--rounds N]

    python benchmarks/mask_sizes.py --quick      # does it run? a round of 200 images

Runs the preset again (same config and seed, so the same masks as in the recorded run), and encodes what every client
sends with both codecs. Prints the table of docs/codecs.md: bits per parameter, and beside them the entropy of the bits
given the value of θ_g, by a table that is not paid for.
"""

from __future__ import annotations

import sys

import numpy as np
import tyro

from deltamask.codecs import CodecContext
from deltamask.codecs.entropy import entropy_iid
from deltamask.codecs.mask import BLIND
from deltamask.codecs.mask_theta import GIVEN_THETA
from deltamask.config import RunConfig
from deltamask.config.presets import preset
from deltamask.masking.masks import Mask
from deltamask.methods import fedpm
from deltamask.simulation.loop import Checkpoint, Observer, simulate
from deltamask.simulation.records import RoundRecord

SMALL = {"rounds": 2, "train_samples": 200, "test_samples": 50, "probe_epochs": 1}
Sizes = tuple[float, float, float]  # bits per parameter: blind, given θ_g, entropy given θ_g


def entropy_given_theta(mask: Mask, context: CodecContext) -> float:
    """Bits for the mask given each position's θ_g, by the best table over its values."""
    _, value = np.unique(context.theta, return_inverse=True)
    seen, ones = np.bincount(value), np.bincount(value[mask], minlength=value.max() + 1)
    return sum(entropy_iid(int(k), int(n)) for k, n in zip(ones, seen, strict=True))


def sizes(mask: Mask, context: CodecContext) -> Sizes:
    """What both codecs make of a mask, headers included."""
    blind, given = (8 * len(codec.seal(mask, context)) for codec in (BLIND, GIVEN_THETA))
    return blind / context.d, given / context.d, entropy_given_theta(mask, context) / context.d


class Masks(Observer):
    """Measures every mask of a run of FedPM as it is sent."""

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.known: Checkpoint | None = None
        self.found: list[tuple[int, Sizes]] = []

    def payload(self, round: int, client: int, order: int, suffix: str, payload: bytes) -> None:
        if self.known is not None:
            state = self.known.state
            context = fedpm.context(self.config, state.theta, state.layers, round, client)
            self.found.append((round, sizes(BLIND.unseal(payload, context), context)))

    def finished(self, record: RoundRecord, checkpoint: Checkpoint) -> None:
        self.known = checkpoint


def table(found: list[tuple[int, Sizes]]) -> str:
    """Markdown: a line for some rounds, and one for all."""
    last = max(round for round, _ in found)
    shown = sorted({1, 2, 5, 10, 20, last} & {round for round, _ in found})
    lines = ["| round | `mask`, bpp | `mask-theta`, bpp | entropy given θ_g | ratio |", "|---|---|---|---|---|"]
    for name, rounds in [*((str(round), {round}) for round in shown), (f"1 … {last}", set(range(1, last + 1)))]:
        blind, given, bound = np.mean([each for round, each in found if round in rounds], axis=0)
        lines.append(f"| {name} | {blind:.4f} | {given:.4f} | {bound:.4f} | {blind / given:.2f} |")
    return "\n".join(lines)


def main(name: tyro.conf.Positional[str] = "fashion-fedpm", rounds: int = 0, quick: bool = False) -> None:
    """Run a preset of FedPM and print the table.

    Args:
        name: the preset.
        rounds: stop after so many.
        quick: two rounds of 200 images.
    """
    config = preset(name).replace(**SMALL) if quick else preset(name)
    watching = Masks(config)
    for record in simulate(config, observer=watching):
        print(f"{name}: round {record.round} of {config.rounds}", file=sys.stderr)
        if rounds and record.round == rounds:
            break
    print(table(watching.found))


if __name__ == "__main__":
    tyro.cli(main)
