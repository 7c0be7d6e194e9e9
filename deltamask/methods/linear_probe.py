"""Linear probing: FedAvg (arXiv 1602.05629) of the classifier head on the frozen network.

Also how every mask method gets its head: round 0 of any run is one round of this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from deltamask import training
from deltamask.base.stopwatch import Stopwatch
from deltamask.codecs.wire import dense
from deltamask.codecs.wire.dense import Head
from deltamask.config import RunConfig
from deltamask.methods import robust
from deltamask.methods.base import ClientReport, Method, Receipt, Upload, methods, pretrained

if TYPE_CHECKING:
    from deltamask.task.task import Task


@dataclass(frozen=True)
class HeadState:
    """head: the classifier. samples: (clients,) how many training samples each client holds, which FedAvg weighs by."""

    head: Head
    samples: np.ndarray


def init(task: Task, config: RunConfig, head: Head) -> HeadState:
    return HeadState(head, task.samples)


def broadcast(config: RunConfig, state: HeadState, round: int) -> bytes:
    """The head as a float32 picture."""
    return dense.encode_dense32(state.head, round, dense.SERVER)


def receive(task: Task, config: RunConfig, round: int, message: bytes, memory: object) -> Head:
    """The head: every message is complete."""
    return dense.decode_dense32(message, task.head_size, round, dense.SERVER)


def client_update(task: Task, config: RunConfig, round: int, client: int, head: Head) -> Upload:
    """Train the head locally (round 0: `probe_epochs`, later rounds: `local_epochs`) and send it as float32."""
    clock = Stopwatch()
    epochs = config.local_epochs if round else config.probe_epochs
    with clock("train"):
        head, loss = training.train_head(task, head, config, epochs=epochs, round=round, client=client)
    with clock("encode"):
        payload = dense.encode_dense32(head, round, client)
    return Upload(payload, ".png", ClientReport(loss, seconds=clock.seconds))


def server_update(
    config: RunConfig,
    state: HeadState,
    round: int,
    payloads: Iterable[tuple[int, bytes]],
    on_receipt: Callable[[Receipt], None],
) -> HeadState:
    """Average the heads, weighted by the clients' samples."""

    def decode(client: int, payload: bytes) -> Head:
        return dense.decode_dense32(payload, len(state.head), round, client)

    total, weight = robust.average(config, state.samples, payloads, decode, on_receipt, state.head)
    return HeadState((total / weight).astype(np.float32), state.samples) if weight else state


def alone(task: Task, config: RunConfig, state: HeadState, round: int, client: int) -> HeadState:
    """The client's own head, trained on."""
    head, _ = training.train_head(task, state.head, config, epochs=config.local_epochs, round=round, client=client)
    return replace(state, head=head)


methods.register("linear-probe")(
    Method(
        "Linear probe",
        "Clients send the classifier head, trained on the frozen network: the floor of every comparison.",
        "head",
        HeadState,
        init,
        broadcast,
        receive,
        client_update,
        server_update,
        pretrained,
        alone=alone,
        private=("samples",),
        color="#7d8590",
        marker="hourglass",
    )
)
