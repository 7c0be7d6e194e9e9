"""FedPM (arXiv 2209.15328): clients send a whole sampled mask, arithmetic-coded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from deltamask import training
from deltamask.base.stopwatch import Stopwatch
from deltamask.codecs import entropy
from deltamask.codecs.mask import decode_mask, encode_mask
from deltamask.codecs.wire.message import seal, unseal
from deltamask.config import RunConfig
from deltamask.downlink import MaskLaw, ThetaMemory
from deltamask.masking import masks, noise
from deltamask.methods import masked, robust
from deltamask.methods.base import ClientReport, Receipt, Upload, decoded, methods
from deltamask.methods.masked import MaskState

if TYPE_CHECKING:
    from deltamask.task.task import Task

LAW = MaskLaw(public=False)


def client_update(task: Task, config: RunConfig, round: int, client: int, memory: ThetaMemory) -> Upload:
    """Train the scores, draw a mask m_k ~ Bernoulli(θ_k) from private randomness, send all of it."""
    clock = Stopwatch()
    with clock("train"):
        trained = training.train_scores(task, memory.head, memory.theta, config, round=round, client=client)
    with clock("encode"):
        private = noise.generator(config.seed, "fedpm mask", round=round, client=client)
        mask = masks.sample(trained.theta, private.integers(0, masks.ONE, task.d, np.uint16))
    return send_mask(mask, trained.loss, round, client, clock)


def send_mask(mask: masks.Mask, loss: float, round: int, client: int, clock: Stopwatch) -> Upload:
    """A whole mask, arithmetic-coded."""
    with clock("encode"):
        payload = seal("mask", round, client, len(mask), encode_mask(mask))
    bound = entropy.entropy_iid(int(mask.sum()), len(mask)) / len(mask)
    return Upload(payload, ".bin", ClientReport(loss, entropy_iid=bound, seconds=clock.seconds))


def server_update(
    law: MaskLaw,
    config: RunConfig,
    state: MaskState,
    round: int,
    payloads: Iterable[tuple[int, bytes]],
    on_receipt: Callable[[Receipt], None],
) -> MaskState:
    """Decode the masks and take the mode of their Beta posterior. No payload decodes: θ_g stays as it is."""
    d = len(state.theta)

    def decode(client: int, payload: bytes) -> masks.Mask:
        return decode_mask(unseal(payload, "mask", round, client, d), d)

    likely = state.theta > masks.ONE // 2

    def unlikely(client: int, payload: bytes) -> masks.Positions:
        return np.flatnonzero(decode(client, payload) != likely)

    def surprise(client: int, positions: masks.Positions) -> np.ndarray:
        return robust.surprise(state.theta, positions)

    ones = np.zeros(d, np.int32)
    received: list[int] = []
    payloads, read = robust.clipped(config, round, payloads, unlikely, surprise)
    for client, positions in decoded(payloads, read, on_receipt):
        ones += masks.apply_flips(likely, positions)
        received.append(client)
    return masked.aggregate_masks(law, config, state, round, ones, sorted(received))


methods.register("fedpm")(
    masked.method(
        "FedPM",
        "Clients send a whole mask, drawn from their probabilities and arithmetic-coded.",
        LAW,
        client_update,
        partial(server_update, LAW),
        sends="masks",
        color="#d9641e",
        marker="square",
    )
)
