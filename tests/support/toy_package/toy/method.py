"""A mask method in one file: DeltaMask that sends every second flip."""

from __future__ import annotations

import numpy as np

from deltamask import downlink, training
from deltamask.base.stopwatch import Stopwatch
from deltamask.codecs import codecs
from deltamask.downlink import MaskLaw
from deltamask.masking import masks
from deltamask.methods import deltamask, masked
from deltamask.methods.base import ClientReport, Upload, methods

LAW = MaskLaw(public=True)
CODEC = "rice"


def client_update(task, config, round, client, memory) -> Upload:
    """Train the scores, send every second flip."""
    clock = Stopwatch()
    with clock("train"):
        trained = training.train_scores(task, memory.head, memory.theta, config, round=round, client=client)
    with clock("encode"):
        u = downlink.noise(config, round, client).words(0, task.d)
        flips = masks.flips(trained.theta, memory.theta, u)
        known = deltamask.context(config, memory.theta, np.array(task.tail.offsets), round, client)
        payload = codecs[CODEC].encode(flips[::2], known)
    return Upload(payload, ".bin", ClientReport(trained.loss, len(flips), flips, flips[::2], seconds=clock.seconds))


def server_update(config, state, round, payloads, on_receipt) -> masked.MaskState:
    """Decode the flips, update the posterior."""
    return deltamask.receive_flips(LAW, config, codecs[CODEC], state, round, payloads, on_receipt)


methods.register("toy")(
    masked.method(
        "Toy", "Every second flip.", LAW, client_update, server_update,
        sends="flips", reads=("noise",), flip_codec=lambda config: CODEC,
    )
)  # fmt: skip
