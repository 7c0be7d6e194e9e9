"""FedMask (Li et al., SenSys 2021): masks by threshold, m = [θ > ½], sent whole; without its initial pruning.

The paper's clients keep real-valued scores of their own. Ours keep nothing between rounds: the average of the masks is
turned back into scores of at most ±1 (`aggregation.thresholded`), which a local epoch can carry across the threshold.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from deltamask import training
from deltamask.base.stopwatch import Stopwatch
from deltamask.config import RunConfig
from deltamask.downlink import MaskLaw, ThetaMemory
from deltamask.masking import aggregation
from deltamask.masking.masks import ONE
from deltamask.methods import fedpm, masked
from deltamask.methods.base import Refit, Upload, methods
from deltamask.methods.masked import MaskState

if TYPE_CHECKING:
    from torch import Tensor

    from deltamask.task.task import Task

LAW = MaskLaw(public=False, likeliest=aggregation.agreed, posterior=aggregation.thresholded)


def client_update(task: Task, config: RunConfig, round: int, client: int, memory: ThetaMemory) -> Upload:
    """Train the scores through thresholded masks, send the mask."""
    clock = Stopwatch()
    with clock("train"):
        trained = training.train_scores(
            task, memory.head, memory.theta, config, round=round, client=client, threshold=True
        )
    both_know = fedpm.context(config, memory.theta, task.tail.offsets, round, client)
    return fedpm.send_mask(config, trained.theta > ONE // 2, trained.loss, both_know, clock)


def effective(task: Task, config: RunConfig, state: MaskState, round: int) -> Iterator[tuple[str, Tensor]]:
    """w ⊙ [θ_g > ½]: the method's only mask."""
    yield "threshold", held(task, config, state.now)


def held(task: Task, config: RunConfig, memory: ThetaMemory) -> Tensor:
    """The network that a client holds."""
    return task.tail.times(memory.theta > ONE // 2)


methods.register("fedmask")(
    masked.method(
        "FedMask",
        "Clients send a whole mask, made by a threshold instead of a draw.",
        LAW,
        client_update,
        partial(fedpm.server_update, LAW),
        sends="masks",
        reads=("side_information",),
        variant=lambda config: fedpm.variant(config.replace(server_lr=1.0, smoothing=0.0)),
        effective=effective,
        refit=Refit(held),
        alone=partial(masked.alone, threshold=True),
        color="#ab5322",
        marker="triangle-up",
    )
)
