"""θ_g before any round of a recorded run, rebuilt from the bytes that it kept. Needs no torch."""

from __future__ import annotations

import numpy as np

from deltamask import aggregation, masks
from deltamask.codecs import CodecContext, DecodeError, codecs
from deltamask.masks import Positions, Theta
from deltamask.noise import PublicNoise
from deltamask.store import Run, StoreError


def theta_before(run: Run, round: int) -> Theta:
    """(d,) θ_g that the clients of `round` received. StoreError says why it cannot be known.

    The server's work is done again, with every client's kept uplink payload.
    """
    config = run.config
    if config.method != "deltamask":
        raise StoreError(f"θ_g is rebuilt for deltamask only; this run is {config.method}")
    try:
        d, layers = run.task["d"], (*(layer["start"] for layer in run.task["layers"]), run.task["d"])
        senders = {
            record["round"]: [line["client"] for line in record["clients"] if not line["dropped"]]
            for record in run.records
            if 0 < record["round"] < round
        }
    except (KeyError, TypeError):
        raise StoreError(f"{run.path}: task.json or rounds.jsonl is damaged") from None
    theta = masks.to_fixed(np.full(d, config.theta_init))
    ones_before, seen_before = np.zeros(d, np.int32), 0
    for past, clients in senders.items():
        ones, change = np.zeros(d, np.int32), np.zeros(d, np.int32)
        for client in clients:
            noise = PublicNoise(config.seed, past, client if config.noise == "per_client" else None)
            flips = _flips(run, CodecContext(past, client, theta, noise, layers))
            mask = masks.sample(theta, noise.words(0, d))
            ones += masks.apply_flips(mask, flips)
            change[flips] += np.where(mask[flips], -1, 1)
        received = len(clients)
        if received and config.aggregation == "unbiased":
            theta = aggregation.unbiased(theta, change, received, config.server_lr)
        elif received:
            if not aggregation.reset_priors(past, config.rho):
                ones, received = ones + ones_before, received + seen_before
            theta, ones_before, seen_before = aggregation.beta(ones, received), ones, received
    return theta


def _flips(run: Run, context: CodecContext) -> Positions:
    """What the server read in a past round."""
    who = f"client {context.client}'s payload of round {context.round}"
    kept = [payload.path for payload in run.payloads(context.round) if payload.client == context.client]
    if not kept:
        raise StoreError(f"θ_g cannot be rebuilt: {who} was not kept (keep_payloads = all keeps every one)")
    try:
        return codecs[run.config.codec].decode(kept[0].read_bytes(), context)
    except (OSError, DecodeError) as error:
        raise StoreError(f"θ_g cannot be rebuilt: {who}: {error}") from None
