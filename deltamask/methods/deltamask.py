"""DeltaMask (arXiv 2311.17299): clients send only the positions where learning changed their mask."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from deltamask import downlink, training
from deltamask.base.stopwatch import Stopwatch
from deltamask.codecs import Codec, CodecContext, DecodeError, codecs, entropy
from deltamask.config import RunConfig
from deltamask.downlink import Change, MaskLaw, ThetaMemory
from deltamask.masking import masks
from deltamask.masking.masks import Theta
from deltamask.methods import masked, robust
from deltamask.methods.base import ClientReport, Receipt, Upload, Variant, decoded, methods
from deltamask.methods.flip_check import checked_flips
from deltamask.methods.masked import MaskState
from deltamask.privacy import crowd

if TYPE_CHECKING:
    from deltamask.task.task import Task

LAW = MaskLaw(public=True, unbiased=True)


def context(config: RunConfig, theta: Theta, layers: Iterable[int], round: int, client: int) -> CodecContext:
    """What both sides know before a payload travels."""
    return CodecContext(round, client, theta, downlink.noise(config, round, client), tuple(map(int, layers)))


def codec_of(config: RunConfig) -> str:
    """The codec that the flips are sent in."""
    return config.codec


def client_update(task: Task, config: RunConfig, round: int, client: int, memory: ThetaMemory) -> Upload:
    """Steps 4 to 7: train the scores, draw both masks from the same u, keep the top κ of the flips, encode them."""
    kappa = training.scheduled(config.kappa, config.kappa_schedule, round, config.rounds)
    return send_flips(task, config, codecs[config.codec], kappa, round, client, memory)


def send_flips(
    task: Task, config: RunConfig, codec: Codec, kappa: float, round: int, client: int, memory: ThetaMemory
) -> Upload:
    """The client's part, with a given codec and κ."""
    clock = Stopwatch()
    both_know = context(config, memory.theta, task.tail.offsets, round, client)
    with clock("train"):
        trained = training.train_scores(task, memory.head, memory.theta, config, round=round, client=client)
    with clock("encode"):
        u = both_know.noise.words(0, task.d)
        flips = masks.flips(trained.theta, memory.theta, u)
        sent = masks.keep_top(flips, trained.theta, memory.theta, kappa, crowd.limit(config))
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
    law: MaskLaw,
    codec_of: Callable[[RunConfig], str],
    config: RunConfig,
    state: MaskState,
    round: int,
    payloads: Iterable[tuple[int, bytes]],
    on_receipt: Callable[[Receipt], None],
) -> MaskState:
    """Steps 8 and 9: decode each payload to m̂_k = m_g ⊕ Δ̂, and aggregate the masks. codec_of: names the codec.

    Where m_g is 1, a flip takes a one away from Σ m̂_k; else it adds one.
    """
    codec = codecs[codec_of(config)]

    def read(client: int, payload: bytes) -> masks.Positions:
        known = context(config, state.theta, state.layers, round, client)
        flips = codec.decode(payload, known)
        if (most := crowd.limit(config)) is not None and len(flips) > most:
            raise DecodeError(f"{len(flips):,} flips, more than dp_flips = {most:,}")
        return checked_flips(config, state.samples, known, flips, codec.exact)

    def cost(client: int, flips: masks.Positions) -> np.ndarray:
        u = downlink.noise(config, round, client).words(0, len(state.theta))
        return robust.cost_of_flips(state.theta, u, flips)

    payloads, decode = robust.clipped(config, round, payloads, read, cost)
    change = np.zeros(len(state.theta), np.int32)  # Σ (m̂_k − m_g,k)
    received: list[int] = []
    for client, flips in decoded(payloads, decode, on_receipt, positions=lambda flips: flips):
        u = downlink.noise(config, round, client).words(0, len(state.theta))
        change[flips] += np.where(masks.sample(state.theta[flips], u[flips]), -1, 1)
        received.append(client)
    shown = crowd.released(config, round, change, len(received))
    return masked.aggregate(law, config, state, round, Change(shown, np.array(sorted(received), np.uint32)))


LINES = {  # (noise, aggregation): what legends say, and how the curve is drawn
    ("shared", "beta"): Variant(("paper: shared u, Beta",), "dot", "-open"),
    ("per_client", "beta"): Variant(("per-client u, Beta",)),
    ("per_client", "unbiased"): Variant(("per-client u, unbiased",), "dash", "-dot"),
    ("shared", "unbiased"): Variant(("shared u, unbiased",), "dashdot", "-open"),
}


def variant(config: RunConfig) -> Variant:
    """Noise and aggregation; codec, κ and ε where they are not the default's."""
    default = {name: RunConfig.model_fields[name].default for name in ("codec", "adam_eps")}
    line = LINES[config.noise, config.aggregation]
    words = list(line.words)
    if config.codec != default["codec"]:
        words.append(config.codec)
        line = Variant(dash="longdashdot", marker="-open-dot")
    if config.kappa < 1 or config.kappa_schedule != "constant":
        words.append(f"κ {config.kappa:g}{' cosine' if config.kappa_schedule == 'cosine' else ''}")
    if config.adam_eps > default["adam_eps"]:
        words.append(f"ε {config.adam_eps:g}")
    return Variant(tuple(words), line.dash, line.marker)


methods.register("deltamask")(
    masked.method(
        "DeltaMask",
        "Clients send the positions where learning changed their mask, packed in a filter or an exact code.",
        LAW,
        client_update,
        partial(receive_flips, LAW, codec_of),
        sends="flips",
        reads=("noise", "aggregation", "server_lr", "kappa", "kappa_schedule", "codec", "check_flips"),
        unread=lambda config: () if config.aggregation == "unbiased" else ("server_lr",),
        flip_codec=codec_of,
        private=("samples", "clients"),
        variant=variant,
        color="#2f7fd1",
        marker="circle",
    )
)
