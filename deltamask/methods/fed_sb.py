"""Fed-SB (arXiv 2502.15436): W + B·R·A with B and A frozen, where clients train and send R alone, (r, r) a layer.

Since B and A are the same for all, the average of the R is the average of the B·R·A: the aggregation is exact.

B and A come from the first gradient (LoRA-SB, arXiv 2411.19557): U and Vᵀ of the truncated SVD of −G, at the pretrained
weights. Round 1 is spent on it. The papers estimate G on a thousandth of the samples, which whoever starts the training
has; here nobody but the clients has any. So each sends its own gradient by one-bit EDEN, and the server answers with B
and A of the average, through the update codec. All these bytes are counted. With `adapter_bases = "weights"` the SVD is
that of the pretrained weights, as in LoRA-XS (2405.17604): nothing is sent for it and no round spent, but every machine
must compute the same SVD.

The downlink is the change of R, through the same update codec as the uplink, and the server goes on from what the
clients have read: with `fp32` the average is exact, with others everyone is off by the same.

Where we differ from the official code: it takes the SVD of −sign(G), Adam's first step, which did worse in short trials
here; its R begins at η·Σ_r, a small part of one step, and ours at 0; and it averages the classifier as well, where our
head stays as round 0 left it, as it does for masks (training it along changed nothing in a short trial).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from deltamask import training
from deltamask.base.stopwatch import Stopwatch
from deltamask.codecs.updates import UpdateContext, updates
from deltamask.codecs.wire import dense
from deltamask.codecs.wire.dense import SERVER, Head, Vector
from deltamask.config import RunConfig
from deltamask.methods import robust
from deltamask.methods.base import ClientReport, Method, Receipt, Refit, Upload, Variant, methods

if TYPE_CHECKING:
    from torch import Tensor

    from deltamask.task.task import Task

Bytes = npt.NDArray[np.uint8]
GRADIENT = updates["eden1"]
ONCE = 0  # the round in the header of B and A: they are the same in every message that brings them


@dataclass(frozen=True)
class SquareMemory:
    """What a client holds. r: R of all layers, flat. bases: the message of B and A, (0,) before there is one."""

    r: Vector
    bases: Bytes
    head: Head


@dataclass(frozen=True)
class SquareState:
    """r, bases, head: as SquareMemory, after the next broadcast. change: (n,) what that one adds to R, or (0,).

    changed: (1,) the round that brought the change, or the bases. shapes: (layers, 2) outputs and inputs of the
    matrices. samples: (clients,), the average's weights.
    """

    r: Vector
    change: Vector
    changed: np.ndarray
    bases: Bytes
    shapes: np.ndarray
    samples: np.ndarray
    head: Head

    @property
    def held(self) -> SquareMemory:
        return SquareMemory(self.r, self.bases, self.head)


def ranks(shapes: np.ndarray, config: RunConfig) -> list[int]:
    """r of each layer: a matrix has no more than its shorter side."""
    return [min(config.lora_rank, int(shape.min())) for shape in shapes]


def scales(shapes: np.ndarray, config: RunConfig) -> Vector:
    """What B and A are multiplied with on their way, so that all their numbers are about 1: √outputs and √inputs."""
    parts = [
        np.full(rank * side, np.sqrt(side), np.float32)
        for shape, rank in zip(shapes, ranks(shapes, config), strict=True)
        for side in shape
    ]
    return np.concatenate([np.zeros(0, np.float32), *parts])


def encode_bases(config: RunConfig, shapes: np.ndarray, directions: npt.NDArray[np.floating]) -> Bytes:
    """The message of B and A: the leading singular vectors of each matrix of `directions`, flat, layer by layer."""
    parts, start = [np.zeros(0, np.float32)], 0
    for (outputs, inputs), rank in zip(shapes.tolist(), ranks(shapes, config), strict=True):
        matrix = directions[start : start + outputs * inputs].reshape(outputs, inputs)
        u, _, vt = np.linalg.svd(matrix, full_matrices=False)
        sign = np.sign(u[np.abs(u).argmax(0), np.arange(len(vt))])  # an SVD leaves it open
        parts += [(u * sign)[:, :rank].ravel(), (vt * sign[:, None])[:rank].ravel()]
        start += outputs * inputs
    values = np.concatenate(parts) * scales(shapes, config)
    message = updates[config.update_codec].encode(values, UpdateContext(config.seed, ONCE, SERVER))
    return np.frombuffer(message, np.uint8)


def decode_bases(config: RunConfig, shapes: np.ndarray, bases: Bytes) -> Vector:
    """B and A as everyone reads them, flat. Raises DecodeError."""
    scale = scales(shapes, config)
    values = updates[config.update_codec].decode(bases.tobytes(), len(scale), UpdateContext(config.seed, ONCE, SERVER))
    return values / scale


def public_bases(task: Task, config: RunConfig) -> Bytes:
    """B and A, as far as they need nobody's data: of the pretrained weights, or none yet."""
    if config.adapter_bases == "gradient":
        return np.zeros(0, np.uint8)
    adapters = training.square_adapters
    return encode_bases(config, adapters.shapes(task.tail), adapters.matrices(task.tail, task.tail.weights))


def init(task: Task, config: RunConfig, head: Head) -> SquareState:
    """R = 0: the pretrained network."""
    shapes = training.square_adapters.shapes(task.tail)
    r, none = np.zeros(sum(rank * rank for rank in ranks(shapes, config)), np.float32), np.zeros(0, np.float32)
    return SquareState(r, none, np.zeros(1, np.int64), public_bases(task, config), shapes, task.samples, head)


def snapshot(config: RunConfig, state: SquareState, round: int) -> bytes:
    """Head, R, and B and A as far as the receiver cannot compute them."""
    r = updates["fp32"].encode(state.r, UpdateContext(config.seed, round, SERVER))
    sent = state.bases.tobytes() if config.adapter_bases == "gradient" else b""
    return dense.pack(dense.encode_dense32(state.head, round, SERVER), r, sent)


def broadcast(config: RunConfig, state: SquareState, round: int) -> bytes:
    """Round 1 brings the head, every later one what the round before changed: R, or B and A."""
    if round == 1 or config.downlink == "fp32":
        return snapshot(config, state, round)
    if int(state.changed[0]) != round - 1:  # the round before came to nothing
        return dense.pack(b"", b"")
    if not len(state.change):
        return dense.pack(b"", state.bases.tobytes())
    at = UpdateContext(config.seed, round, SERVER)
    return dense.pack(updates[config.update_codec].encode(state.change, at), b"")


def receive(task: Task, config: RunConfig, round: int, message: bytes, memory: SquareMemory | None) -> SquareMemory:
    """What a client makes of it. Raises DecodeError."""
    at = UpdateContext(config.seed, round, SERVER)
    shapes = training.square_adapters.shapes(task.tail)
    size = sum(rank * rank for rank in ranks(shapes, config))
    if memory is None or config.downlink == "fp32":
        head, r, sent = dense.unpack(message, 3)
        values = updates["fp32"].decode(r, size, at)
        memory = SquareMemory(
            values, public_bases(task, config), dense.decode_dense32(head, task.head_size, round, SERVER)
        )
    else:
        change, sent = dense.unpack(message, 2)
        if change:
            memory = replace(memory, r=memory.r + updates[config.update_codec].decode(change, size, at))
    if sent:
        memory = replace(memory, bases=np.frombuffer(sent, np.uint8))
        decode_bases(config, shapes, memory.bases)
    return memory


def client_update(task: Task, config: RunConfig, round: int, client: int, memory: SquareMemory) -> Upload:
    """Train R, send its change; before there are B and A, the gradient."""
    clock, at = Stopwatch(), UpdateContext(config.seed, round, client)
    codec = updates[config.update_codec] if len(memory.bases) else GRADIENT
    with clock("train"):
        if len(memory.bases):
            trained, loss = train(task, config, memory, round, client)
            values = trained - memory.r
        else:
            values, loss = training.square_adapters.first_gradient(
                task, memory.head, config, round=round, client=client
            )
    with clock("encode"):
        payload = codec.encode(values, at)
    return Upload(payload, codec.suffix, ClientReport(loss, seconds=clock.seconds))


def train(task: Task, config: RunConfig, memory: SquareMemory, round: int, client: int) -> tuple[Vector, float]:
    """E epochs on R. Returns (R, loss)."""
    shapes = training.square_adapters.shapes(task.tail)
    bases = decode_bases(config, shapes, memory.bases)
    return training.square_adapters.train_between(
        task, memory.head, memory.r, bases, ranks(shapes, config), config, round=round, client=client
    )


def server_update(
    config: RunConfig,
    state: SquareState,
    round: int,
    payloads: Iterable[tuple[int, bytes]],
    on_receipt: Callable[[Receipt], None],
) -> SquareState:
    """R += η · average change, as clients will read it; or B and A, from the gradients. No payload: nothing changes."""
    learns = len(state.bases) > 0
    codec = updates[config.update_codec] if learns else GRADIENT
    n = len(state.r) if learns else int(state.shapes.prod(1).sum())

    def decode(client: int, payload: bytes) -> Vector:
        return codec.decode(payload, n, UpdateContext(config.seed, round, client))

    total, weight = robust.average(config, state.samples, payloads, decode, on_receipt)
    if not weight:
        return state
    if not learns:
        return replace(state, bases=encode_bases(config, state.shapes, -total), changed=np.array([round]))
    change = (config.server_lr * total / weight).astype(np.float32)
    at = UpdateContext(config.seed, round + 1, SERVER)
    heard = codec.decode(codec.encode(change, at), n, at)
    return replace(state, r=state.r + heard, change=change, changed=np.array([round]))


def weights(task: Task, config: RunConfig, held: SquareMemory) -> Tensor:
    """w + B·R·A."""
    adapters = training.square_adapters
    if not len(held.bases):
        return task.tail.weights
    shapes = adapters.shapes(task.tail)
    between = adapters.frames(task.tail, decode_bases(config, shapes, held.bases), ranks(shapes, config))
    return adapters.effective(task.tail, adapters.split(task.tail.tensor(held.r), ranks(shapes, config)), between)


def effective(task: Task, config: RunConfig, state: SquareState, round: int) -> Iterator[tuple[str, Tensor]]:
    """w + B·R·A."""
    yield "mean", weights(task, config, state.held)


def alone(task: Task, config: RunConfig, state: SquareState, round: int, client: int) -> SquareState:
    """The client's own R, trained on, between B and A of its own gradient."""
    if len(state.bases):
        return replace(state, r=train(task, config, state.held, round, client)[0])
    gradient, _ = training.square_adapters.first_gradient(task, state.head, config, round=round, client=client)
    return replace(state, bases=encode_bases(config, state.shapes, -gradient))


methods.register("fed-sb")(
    Method(
        "Fed-SB",
        "Clients send how small square matrices between frozen adapters changed; the head stays.",
        "values",
        SquareState,
        init,
        broadcast,
        receive,
        client_update,
        server_update,
        effective,
        snapshot=snapshot,
        memory=SquareMemory,
        refit=Refit(weights),
        alone=alone,
        reads=(
            "weight_lr", "lr_schedule", "server_lr", "lora_rank", "adapter_bases", "update_codec", "downlink",
        ),
        color="#d868b0",
        marker="hexagram",
        variant=lambda config: Variant((config.update_codec,)),
    )
)  # fmt: skip
