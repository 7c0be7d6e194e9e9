"""`check_flips`: is a flip one that this client's training can have made?"""

from __future__ import annotations

import numpy as np

from deltamask import training
from deltamask.base.units import ceil
from deltamask.codecs import CodecContext, DecodeError
from deltamask.config import RunConfig
from deltamask.masking import reach
from deltamask.masking.masks import Positions


def checked_flips(
    config: RunConfig, samples: np.ndarray, known: CodecContext, flips: Positions, exact: bool
) -> Positions:
    """`flips` that are all possible under the run's settings (`masking/reach.py`). samples: (clients,) registered.

    exact: they are the very set that was sent, and one that is impossible raises DecodeError. What a filter answers
    has false flips anywhere: impossible ones are among these, and are left out.
    """
    if config.check_flips == "off" or not len(samples):
        return flips
    lr = training.scheduled(config.lr, config.lr_schedule, known.round, config.rounds)
    steps = config.local_epochs * ceil(int(samples[known.client]) / config.batch_size)
    can_be = reach.possible(flips, known.theta, known.noise.words(0, known.d), lr, steps)
    if can_be.all():
        return flips
    if exact:
        first = flips[np.argmin(can_be)]
        raise DecodeError(
            f"flips position {first}, and {int((~can_be).sum()):,} in all, that no training under these settings can "
            "reach"
        )
    return flips[can_be]
