"""What of a message's size is arithmetic: κ times the flips, bits an entry of the codec, bits a value. Needs no torch.

These are sizes on paper, to tell settings apart by: a ratio of two of them, never a size that is shown by itself.
"""

from __future__ import annotations

import math

from deltamask.codecs.base import OF_WIDTH
from deltamask.config import RunConfig, is_unread
from deltamask.methods import methods
from deltamask.training.schedule import scheduled

SLOTS = {"bfuse": 1.125, "xor": 1.23}  # of a filter, for an entry
BLOOM = 8 / math.log(2)  # bits an entry at a false positive rate of 2⁻⁸
VALUE_BITS = {"fp32": 32.0, "fp16": 16.0, "eden4": 4.0, "qsgd": 3.44, "eden0.5": 0.5}  # of the others: one


def codec_of(config: RunConfig) -> str | None:
    """The codec that the method's flips travel in; None for a method that sends none."""
    flip_codec = methods[config.method].flip_codec
    return flip_codec(config) if flip_codec else None


def kept_share(config: RunConfig) -> float:
    """The share of the flips that κ keeps, as a mean over the rounds; 1 where κ is not read."""
    if is_unread("kappa", config):
        return 1.0
    rounds = range(1, config.rounds + 1)
    shares = [scheduled(config.kappa, config.kappa_schedule, round, config.rounds) for round in rounds]
    return sum(shares) / len(shares)


def entry_bits(codec: str, density: float) -> float:
    """Bits an entry on paper, of a set with `density` of all positions (0 < density < 1).

    A filter's fingerprints have a width. What codes positions needs their entropy: log₂(1/density) + log₂ e an entry,
    more or less by a factor of its own. A codec of whole masks pays for every position.
    """
    if match := OF_WIDTH.fullmatch(codec):
        return SLOTS[match[1]] * float(match[2])
    if codec == "bloom":
        return BLOOM
    return 1 / density if codec.startswith("mask") else math.log2(1 / density) + math.log2(math.e)


def value_bits(config: RunConfig) -> float:
    """Bits a value of an update on paper; 1 for a method that has no choice."""
    return 1.0 if is_unread("update_codec", config) else VALUE_BITS.get(config.update_codec, 1.0)
