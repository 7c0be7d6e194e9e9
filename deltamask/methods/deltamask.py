"""DeltaMask (arXiv 2311.17299): clients send only the positions where learning changed their mask."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from deltamask import aggregation, masks, training
from deltamask.codecs import CodecContext, codecs, entropy
from deltamask.config import RunConfig
from deltamask.masks import Theta
from deltamask.methods import masked
from deltamask.methods.base import ClientReport, Method, Receipt, Upload, decoded, methods
from deltamask.methods.masked import MaskState
from deltamask.noise import PublicNoise
from deltamask.stopwatch import Stopwatch
from deltamask.task import Task


def context(config: RunConfig, theta: Theta, layers: Iterable[int], round: int, client: int) -> CodecContext:
    """What both sides know before a payload travels. u is one for all clients (`shared`, the paper) or one for each."""
    noise = PublicNoise(config.seed, round, client if config.noise == "per_client" else None)
    return CodecContext(round, client, theta, noise, tuple(map(int, layers)))


def client_update(task: Task, config: RunConfig, round: int, client: int, broadcast: bytes) -> Upload:
    """Steps 4 to 7: train the scores, draw both masks from the same u, keep the top κ of the flips, encode them."""
    clock = Stopwatch()
    theta_global, head = masked.read_broadcast(task, round, broadcast)
    both_know = context(config, theta_global, task.tail.offsets, round, client)
    codec = codecs[config.codec]

    with clock("train"):
        trained = training.train_scores(task, head, theta_global, config, round=round, client=client)
    with clock("encode"):
        u = both_know.noise.words(0, task.d)
        flips = masks.flips(trained.theta, theta_global, u)
        kappa = training.scheduled(config.kappa, config.kappa_schedule, round, config.rounds)
        sent = masks.keep_top(flips, trained.theta, theta_global, kappa)
        payload = codec.encode(sent, both_know)

    report = ClientReport(
        loss=trained.loss,
        flips=len(flips),
        delta=flips,
        sent=sent,
        entropy_iid=entropy.entropy_iid(len(sent), task.d) / task.d,
        entropy_side=entropy.entropy_side(sent, both_know) / task.d,
        seconds=clock.seconds,
    )
    return Upload(payload, codec.suffix, report)


def server_update(
    config: RunConfig,
    state: MaskState,
    round: int,
    payloads: Iterable[tuple[int, bytes]],
    on_receipt: Callable[[Receipt], None],
) -> MaskState:
    """Steps 8 and 9: decode each payload to m̂_k = m_g ⊕ Δ̂, and fold the masks into θ_g.

    No payload decodes: θ_g stays as it is.
    """

    def side(client: int) -> CodecContext:
        return context(config, state.theta, state.layers, round, client)

    def decode(client: int, payload: bytes) -> masks.Positions:
        return codecs[config.codec].decode(payload, side(client))

    ones = np.zeros(len(state.theta), np.int32)  # Σ m̂_k
    change = np.zeros(len(state.theta), np.int32)  # Σ (m̂_k − m_g,k)
    received = 0
    for client, flips in decoded(payloads, decode, on_receipt, positions=lambda flips: flips):
        mask_global = masks.sample(state.theta, side(client).noise.words(0, len(state.theta)))
        ones += masks.apply_flips(mask_global, flips)
        change[flips] += np.where(mask_global[flips], -1, 1)
        received += 1
    if received == 0:
        return state
    if config.aggregation == "beta":
        return masked.fold_beta(config, state, round, ones, received)
    return replace(state, theta=aggregation.unbiased(state.theta, change, received, config.server_lr))


methods.register("deltamask")(
    Method(MaskState, masked.init, masked.broadcast, client_update, server_update, masked.effective)
)
