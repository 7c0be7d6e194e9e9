"""What a method is: a few pure functions over a small state, which exchange bytes and nothing else.

Methods are listed, labelled and drawn without torch: what needs it (`deltamask.training`) loads when first used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from deltamask.base.registry import Registry
from deltamask.base.stopwatch import Stopwatch
from deltamask.codecs import DecodeError
from deltamask.config import RunConfig
from deltamask.config.privacy_fields import Privacy
from deltamask.downlink import MaskLaw
from deltamask.masking.masks import Positions

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from deltamask.codecs.wire.dense import Head
    from deltamask.task.task import Task


T = TypeVar("T")


@dataclass(frozen=True)
class ClientReport:
    """What only the client knows, measured for the record. None of it crosses the wire.

    flips: |Δ| before κ. delta: Δ itself. sent: Δ', the positions that were encoded; kept: their number, where they are
    not at hand themselves. entropy_*: bits per parameter. None where there is no such thing.
    """

    loss: float | None
    flips: int | None = None
    delta: Positions | None = None
    sent: Positions | None = None
    kept: int | None = None
    entropy_iid: float | None = None
    entropy_side: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Upload:
    """A client's answer. payload: the bytes that cross the network. suffix: what kind of file they make."""

    payload: bytes
    suffix: str
    report: ClientReport


@dataclass(frozen=True)
class Receipt:
    """What the server made of a payload. positions: the decoded flips, if the method sends flips. dropped: why not."""

    client: int
    positions: Positions | None
    dropped: str | None
    seconds: float


def decoded(
    payloads: Iterable[tuple[int, bytes]],
    decode: Callable[[int, bytes], T],
    on_receipt: Callable[[Receipt], None],
    positions: Callable[[T], Positions | None] = lambda value: None,
) -> Iterator[tuple[int, T]]:
    """(client, value) of every payload that decodes, one at a time; each gets its receipt.

    What does not decode, and a second payload of one client, is reported and skipped. positions: the flips in a value.
    """
    seen: set[int] = set()
    for client, payload in payloads:
        clock = Stopwatch()
        try:
            with clock("decode"):
                if client in seen:
                    raise DecodeError(f"client {client} has sent a payload in this round already")
                value = decode(client, payload)
        except DecodeError as error:
            on_receipt(Receipt(client, None, str(error), clock.seconds["decode"]))
            continue
        seen.add(client)
        yield client, value
        on_receipt(Receipt(client, positions(value), None, clock.seconds["decode"]))


State = Any  # a dataclass whose fields are all NumPy arrays: that is what a checkpoint stores
Memory = Any  # what a client keeps from one round to the next


def with_head(of: Any, head: Head) -> Any:
    """A state, or what a client holds, with another head: the field of that name."""
    return replace(of, head=head)


@dataclass(frozen=True)
class Refit:
    """How a method's head can be found again while it learns (`head_refit`).

    weights(task, config, memory): (d,) the tail's weights that a client holds. with_head(held, head): a state, or what
    a client holds, with another head.
    """

    weights: Callable[[Task, RunConfig, Memory], Tensor]
    with_head: Callable[[Any, Head], Any] = with_head


Sends = Literal["flips", "masks", "values", "head", "scalars", "nothing"]


def pretrained(task: Task, config: RunConfig, state: State, round: int) -> Iterator[tuple[str, Tensor]]:
    """`effective` of a method that learns the head alone: the pretrained weights, unmasked."""
    yield "mean", task.tail.weights


@dataclass(frozen=True)
class Variant:
    """How a run's settings change its method's name and line.

    words: put in brackets behind the label. dash: Plotly's name of it. marker: put behind the marker's name, such as
    `-open`.
    """

    words: tuple[str, ...] = ()
    dash: str = "solid"
    marker: str = ""


@dataclass(frozen=True)
class Method:
    """One federated method: what it is called and how it is drawn, which settings it reads, and what it does.

    label, about: its name in legends, and one line for people. sends: what a client's payload holds. reads: the fields
    of RunConfig that it reads, beyond those that every run reads. unread: those of them that a config leaves without
    effect. color (#rrggbb), marker (Plotly's name): its look; None has one chosen. variant: how a config changes both.
    masks: how its masks are drawn and aggregated; None for a method without masks. flip_codec: the codec that its
    payloads of flips are written in. refit: how its head is found again; None: the head is what it learns. private:
    the values of `dp` that it keeps. `samples`: all that its clients' samples do to a payload goes through the noisy
    steps of `training/private.py`. `clients`: all that its state takes from payloads goes through `privacy/crowd.py`. A
    run with another is refused.

    init(task, config, head): the server's first state.
    broadcast(config, state, round): the message that opens a round, the same for every client that has its predecessor.
    receive(task, config, round, message, memory): what a client holds after that message; memory is what its
        predecessor left, None for a client that holds nothing. Raises DecodeError.
    client_update(task, config, round, client, memory): local work, then the payload.
    server_update(config, state, round, payloads, on_receipt): consumes payloads one by one (memory O(d) whatever their
        number) and returns the next state; a payload that does not decode is reported and skipped.
    effective(task, config, state, round): the tail weights to evaluate, by name; the first is the headline.
    snapshot(config, state, round): the message for a client that holds nothing. None: every broadcast is one.
    memory: what a client keeps where broadcasts are not complete, a dataclass of arrays and whole numbers.
    alone(task, config, state, round, client): the state after local work of a client that sends nothing and is sent
        nothing, and so goes on with its own θ or weights. None: the method does not say, and `compare_alone` is
        refused. Raises FloatingPointError if training diverges.
    """

    label: str
    about: str
    sends: Sends
    state: type
    init: Callable[[Task, RunConfig, Head], State]
    broadcast: Callable[[RunConfig, State, int], bytes]
    receive: Callable[[Task, RunConfig, int, bytes, Memory], Memory]
    client_update: Callable[[Task, RunConfig, int, int, Memory], Upload]
    server_update: Callable[[RunConfig, State, int, Iterable[tuple[int, bytes]], Callable[[Receipt], None]], State]
    effective: Callable[[Task, RunConfig, State, int], Iterator[tuple[str, Tensor]]]
    snapshot: Callable[[RunConfig, State, int], bytes] | None = None
    memory: type | None = None
    alone: Callable[[Task, RunConfig, State, int, int], State] | None = None
    reads: tuple[str, ...] = ()
    unread: Callable[[RunConfig], tuple[str, ...]] = lambda config: ()
    color: str | None = None
    marker: str | None = None
    variant: Callable[[RunConfig], Variant] = lambda config: Variant()
    masks: MaskLaw | None = None
    flip_codec: Callable[[RunConfig], str] | None = None
    refit: Refit | None = None
    private: tuple[Privacy, ...] = ()

    def __repr__(self) -> str:
        return f"<Method {self.label}: sends {self.sends}>"


METHOD_FIELDS = RunConfig.read_by("method")
methods: Registry[Method] = Registry("method")


def state_arrays(state: State) -> dict[str, np.ndarray]:
    """A state's fields, for a checkpoint."""
    return dict(vars(state))
