"""The head of round 0 and nothing after it: what a method must beat to be worth its bits.

Messages are headers and nothing else, 24 bytes: the rounds stand for those of the method that it is compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from deltamask.codecs.wire.dense import SERVER
from deltamask.codecs.wire.message import DecodeError, register_kind, seal, unseal
from deltamask.config import RunConfig
from deltamask.methods import linear_probe
from deltamask.methods.base import ClientReport, Method, Receipt, Upload, decoded, methods, pretrained
from deltamask.methods.linear_probe import HeadState

if TYPE_CHECKING:
    from deltamask.task.task import Task

KIND = "nothing"
register_kind(KIND, 110, about="nothing: the client takes part")


def broadcast(config: RunConfig, state: HeadState, round: int) -> bytes:
    """A header."""
    return seal(KIND, round, SERVER, len(state.head), b"")


def receive(task: Task, config: RunConfig, round: int, message: bytes, memory: object) -> None:
    """Nothing. Raises DecodeError for anything but the header."""
    unseal(message, KIND, round, SERVER, task.head_size)


def client_update(task: Task, config: RunConfig, round: int, client: int, memory: None) -> Upload:
    """A header."""
    return Upload(seal(KIND, round, client, task.head_size, b""), ".bin", ClientReport(None))


def server_update(
    config: RunConfig,
    state: HeadState,
    round: int,
    payloads: Iterable[tuple[int, bytes]],
    on_receipt: Callable[[Receipt], None],
) -> HeadState:
    """The head stays as it is."""

    def decode(client: int, payload: bytes) -> None:
        if len(unseal(payload, KIND, round, client, len(state.head))):
            raise DecodeError("something follows the header")

    for _ in decoded(payloads, decode, on_receipt):
        pass
    return state


def alone(task: Task, config: RunConfig, state: HeadState, round: int, client: int) -> HeadState:
    """The head stays as it is."""
    return state


methods.register("head-only")(
    Method(
        "Head only",
        "Nothing is learnt after the head of round 0: what every other method must beat.",
        "nothing",
        HeadState,
        linear_probe.init,
        broadcast,
        receive,
        client_update,
        server_update,
        pretrained,
        alone=alone,
        private=("samples", "clients"),
        color="#6850c8",
        marker="triangle-left",
    )
)
