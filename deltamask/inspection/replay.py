"""θ_g as it was before a round, rebuilt from the downlink messages that a run kept. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice

from deltamask import downlink
from deltamask.codecs.wire import dense
from deltamask.downlink import ThetaMemory
from deltamask.masking.masks import Theta
from deltamask.methods import methods, refit
from deltamask.methods.base import with_head
from deltamask.runs import StoreError, payloads
from deltamask.runs.reader import Run

# Positions times rounds that are decoded to rebuild one θ_g: some minutes of a core. A message that changes nothing is
# a hundred bytes whatever d is, so that a small folder could ask for hours.
MOST_WORK = 1 << 32


def memories(run: Run, first: int = 1) -> Iterator[ThetaMemory]:
    """What a client holds when it starts the local work of the rounds `first`, `first` + 1, …

    With downlink = counts it must have heard every broadcast, so `first` is 1. Raises StoreError if the run does not
    send θ_g, or where it has not kept what is needed; DecodeError where a message is damaged.
    """
    law = methods[run.config.method].masks
    if law is None:
        raise StoreError(f"{run.config.method} sends no θ_g")
    d, head_size = (run.task.get(name) for name in ("d", "head_size"))
    if type(d) is not int or type(head_size) is not int:
        raise StoreError(f"{run.path / 'task.json'} is missing or damaged")
    memory: ThetaMemory | None = None
    for round in count(first):
        message = payloads.broadcast(run.path, round)
        if message is None:
            raise StoreError(
                f"{run.id} has not kept the broadcast of round {round}: keep_payloads = few keeps those up to a "
                "megabyte, all keeps all, and of some recorded runs they were left out"
            )
        head = None
        if memory is not None:
            message, head = refit.message_parts(methods[run.config.method], run.config, round, message)
        memory = downlink.receive(law, run.config, d, head_size, round, message, memory)
        if head is not None:
            memory = with_head(memory, dense.decode_dense32(head, head_size, round, dense.SERVER))
        yield memory


def memory_before(run: Run, round: int) -> ThetaMemory:
    """What a client that has taken part in every round holds when it starts `round`'s local work (from 1).

    Errors as `memories`, and StoreError where it would take more than MOST_WORK.
    """
    first = 1 if run.config.downlink == "counts" else round
    d = run.task.get("d")
    if type(d) is int and (work := d * (round - first + 1)) > MOST_WORK:
        raise StoreError(
            f"θ_g before round {round} of {run.id} takes {round - first + 1:,} messages of {d:,} positions each, "
            f"{work:,} in all: at most {MOST_WORK:,} are decoded for it"
        )
    return next(islice(memories(run, first), round - first, None))


def theta_before(run: Run, round: int) -> Theta:
    """θ_g (d,) when `round` (from 1) starts; errors as `memories`."""
    return memory_before(run, round).theta
