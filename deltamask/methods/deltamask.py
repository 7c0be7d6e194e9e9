"""DeltaMask (arXiv 2311.17299): clients send only the positions where learning changed their mask."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from deltamask import downlink, training
from deltamask.base.stopwatch import Stopwatch
from deltamask.codecs import Codec, CodecContext, codecs, entropy
from deltamask.config import RunConfig
from deltamask.downlink import Change, Memory
from deltamask.masking import masks
from deltamask.masking.masks import Theta
from deltamask.methods import masked
from deltamask.methods.base import ClientReport, Method, Receipt, Upload, decoded, methods
from deltamask.methods.masked import MaskState
from deltamask.task.task import Task


def context(config: RunConfig, theta: Theta, layers: Iterable[int], round: int, client: int) -> CodecContext:
    """What both sides know before a payload travels."""
    return CodecContext(round, client, theta, downlink.noise(config, round, client), tuple(map(int, layers)))


def client_update(task: Task, config: RunConfig, round: int, client: int, memory: Memory) -> Upload:
    """Steps 4 to 7: train the scores, draw both masks from the same u, keep the top κ of the flips, encode them."""
    kappa = training.scheduled(config.kappa, config.kappa_schedule, round, config.rounds)
    return send_flips(task, config, codecs[config.codec], kappa, round, client, memory)


def server_update(
    config: RunConfig,
    state: MaskState,
    round: int,
    payloads: Iterable[tuple[int, bytes]],
    on_receipt: Callable[[Receipt], None],
) -> MaskState:
    """Steps 8 and 9: decode each payload to m̂_k = m_g ⊕ Δ̂, and fold the masks into θ_g."""
    return receive_flips(config, codecs[config.codec], state, round, payloads, on_receipt)


def send_flips(
    task: Task, config: RunConfig, codec: Codec, kappa: float, round: int, client: int, memory: Memory
) -> Upload:
    """The client's part, with a given codec and κ."""
    clock = Stopwatch()
    both_know = context(config, memory.theta, task.tail.offsets, round, client)
    with clock("train"):
        trained = training.train_scores(task, memory.head, memory.theta, config, round=round, client=client)
    with clock("encode"):
        u = both_know.noise.words(0, task.d)
        flips = masks.flips(trained.theta, memory.theta, u)
        sent = masks.keep_top(flips, trained.theta, memory.theta, kappa)
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


def receive_flips(
    config: RunConfig,
    codec: Codec,
    state: MaskState,
    round: int,
    payloads: Iterable[tuple[int, bytes]],
    on_receipt: Callable[[Receipt], None],
) -> MaskState:
    """The server's part, with a given codec. Where m_g is 1, a flip takes a one away from Σ m̂_k; else it adds one."""

    def decode(client: int, payload: bytes) -> masks.Positions:
        return codec.decode(payload, context(config, state.theta, state.layers, round, client))

    change = np.zeros(len(state.theta), np.int32)  # Σ (m̂_k − m_g,k)
    received: list[int] = []
    for client, flips in decoded(payloads, decode, on_receipt, positions=lambda flips: flips):
        u = downlink.noise(config, round, client).words(0, len(state.theta))
        change[flips] += np.where(masks.sample(state.theta[flips], u[flips]), -1, 1)
        received.append(client)
    return masked.fold(config, state, round, Change(change, np.array(sorted(received), np.uint32)))


methods.register("deltamask")(
    Method(
        MaskState,
        masked.init,
        masked.broadcast,
        masked.receive,
        client_update,
        server_update,
        masked.effective,
        masked.snapshot,
    )
)
