"""A new state is looked at before it becomes the run's: one that cannot be sent and read again is refused."""

from __future__ import annotations

import numpy as np

from deltamask.codecs.wire.dense import sendable
from deltamask.config import RunConfig
from deltamask.masking.masks import THETA_MAX, THETA_MIN
from deltamask.methods.base import Method, State, state_arrays
from deltamask.methods.refit import is_complete
from deltamask.task.task import Task

FAULTS = (ValueError, ArithmeticError)  # of a message that does not decode, and of arithmetic that leaves its numbers
UNSOLVABLE = (ArithmeticError, np.linalg.LinAlgError)


def refusal(method: Method, task: Task, config: RunConfig, before: State, after: State, round: int) -> str | None:
    """Why the state after `round` cannot be the run's, or None.

    Its floats are finite and within what messages hold, θ_g is in its range, and where a message says all of the state,
    that message is written and read. A checkpoint that holds anything else would end the run for good.
    """
    if after is before:
        return None
    try:
        for name, array in state_arrays(after).items():
            if np.issubdtype(array.dtype, np.floating):
                sendable(array, name)
        theta = getattr(after, "theta", None)
        if theta is not None and len(theta) and not THETA_MIN <= theta.min() <= theta.max() <= THETA_MAX:
            raise ValueError(f"theta leaves [{THETA_MIN}, {THETA_MAX}]")
        if is_complete(method, config):
            following = round + 1 if round else 0  # round 0 may go to the clients twice
            method.receive(task, config, following, method.broadcast(config, after, following), None)
    except FAULTS as error:
        return f"the state after this round cannot be sent: {error}"
    return None
