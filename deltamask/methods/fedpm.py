"""FedPM (arXiv 2209.15328): clients send a whole sampled mask, arithmetic-coded.

As published the code is blind to θ_g, which the server holds as well; with `side_information` it is given it. What the
authors' code does and the paper does not say: a received bit counts as 0.01 or 0.99 (`smoothing`), three local epochs
(`local_epochs`), priors reset in every round. Left out: its clients' optimisers keep their state from round to round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from deltamask import training
from deltamask.base.stopwatch import Stopwatch
from deltamask.codecs import CodecContext, entropy
from deltamask.codecs.mask import BLIND, MaskCodec
from deltamask.codecs.mask_theta import GIVEN_THETA
from deltamask.config import RunConfig
from deltamask.downlink import MaskLaw, ThetaMemory
from deltamask.masking import masks, noise
from deltamask.masking.noise import PublicNoise
from deltamask.methods import masked, robust
from deltamask.methods.base import ClientReport, Receipt, Upload, Variant, decoded, methods
from deltamask.methods.masked import MaskState

if TYPE_CHECKING:
    from deltamask.task.task import Task

LAW = MaskLaw(public=False, damped=True)


def mask_codec(config: RunConfig) -> MaskCodec:
    """The codec that the masks are sent in."""
    return GIVEN_THETA if config.side_information == "on" else BLIND


def context(config: RunConfig, theta: masks.Theta, layers: Iterable[int], round: int, client: int) -> CodecContext:
    """What both sides know before a mask travels: θ_g. No codec of whole masks asks for the noise."""
    return CodecContext(round, client, theta, PublicNoise(config.seed, round, client), tuple(map(int, layers)))


def client_update(task: Task, config: RunConfig, round: int, client: int, memory: ThetaMemory) -> Upload:
    """Train the scores, draw a mask m_k ~ Bernoulli(θ_k) from private randomness, send all of it."""
    clock = Stopwatch()
    with clock("train"):
        trained = training.train_scores(task, memory.head, memory.theta, config, round=round, client=client)
    with clock("encode"):
        private = noise.generator(config.seed, "fedpm mask", round=round, client=client)
        mask = masks.sample(trained.theta, private.integers(0, masks.ONE, task.d, np.uint16))
    both_know = context(config, memory.theta, task.tail.offsets, round, client)
    return send_mask(config, mask, trained.loss, both_know, clock)


def send_mask(config: RunConfig, mask: masks.Mask, loss: float, both_know: CodecContext, clock: Stopwatch) -> Upload:
    """A whole mask, arithmetic-coded."""
    codec = mask_codec(config)
    with clock("encode"):
        payload = codec.seal(mask, both_know)
    bound = entropy.entropy_iid(int(mask.sum()), len(mask)) / len(mask)
    return Upload(payload, codec.suffix, ClientReport(loss, entropy_iid=bound, seconds=clock.seconds))


def server_update(
    law: MaskLaw,
    config: RunConfig,
    state: MaskState,
    round: int,
    payloads: Iterable[tuple[int, bytes]],
    on_receipt: Callable[[Receipt], None],
) -> MaskState:
    """Decode the masks and take the mode of their Beta posterior. No payload decodes: θ_g stays as it is."""
    d, codec = len(state.theta), mask_codec(config)

    def decode(client: int, payload: bytes) -> masks.Mask:
        return codec.unseal(payload, context(config, state.theta, state.layers, round, client))

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


def variant(config: RunConfig, known: str = "θ_g") -> Variant:
    """What of the published form a config changes. known: what the code is given."""
    words = [f"given {known}"] if config.side_information == "on" else []
    if config.server_lr != 1:
        words.append(f"η {config.server_lr:g}")
    if config.smoothing:
        words.append(f"smoothed {config.smoothing:g}")
    return Variant(tuple(words), "dash" if words else "solid", "-open" if words else "")


methods.register("fedpm")(
    masked.method(
        "FedPM",
        "Clients send a whole mask, drawn from their probabilities and arithmetic-coded.",
        LAW,
        client_update,
        partial(server_update, LAW),
        sends="masks",
        reads=("side_information", "server_lr", "smoothing"),
        variant=variant,
        color="#d9641e",
        marker="square",
    )
)
