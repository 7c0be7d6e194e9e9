"""What each client could do alone: under the same head, by the method's own local training, and nothing is sent."""

from __future__ import annotations

from dataclasses import replace

from deltamask import training
from deltamask.base.progress import ALONE, Progress
from deltamask.base.stopwatch import Stopwatch
from deltamask.base.units import ceil
from deltamask.codecs.wire.dense import Head
from deltamask.config import RunConfig
from deltamask.methods.head_round import method_of
from deltamask.simulation.records import RoundRecord
from deltamask.simulation.round_recorder import rounded
from deltamask.task.task import Task


def lone_config(config: RunConfig) -> RunConfig:
    """What a client that goes alone trains by: as many rounds as a client of the run takes part in on average, ⌈ρ·R⌉,
    and plain cross-entropy, since its own label shares are all that its model will meet."""
    return config.replace(rounds=ceil(config.rho * config.rounds), local_loss="cross_entropy")


def check_alone(config: RunConfig) -> None:
    """ValueError if the config asks for what its method cannot do."""
    if config.compare_alone and method_of(config, 1).alone is None:
        raise ValueError(f"compare_alone: method {config.method} does not say how a client trains alone")


def accuracy_alone(task: Task, config: RunConfig, head: Head, client: int, progress: Progress) -> float:
    """The accuracy for `client` of the model that it trains alone: by class, weighted with its own label shares.

    It goes on with its own θ or weights, with no draw and no rounding between its epochs, and with the batches that it
    would see in the rounds 1, 2, … of the run. Where its training diverges, what it had before counts.
    """
    method, lone = method_of(config, 1), lone_config(config)
    assert method.alone is not None
    state = method.init(task, lone, head)
    for round in range(1, lone.rounds + 1):
        progress(ALONE, client, config.clients)
        try:
            state = method.alone(task, lone, state, round, client)
        except FloatingPointError:
            break
    _, weights = next(method.effective(task, lone, state, lone.rounds))
    return training.client_accuracy(training.evaluate(task, weights, state.head), task.label_counts[client])


def compare_alone(task: Task, config: RunConfig, progress: Progress, record: RoundRecord, head: Head) -> RoundRecord:
    """Round 0's record with the accuracy that each client reaches alone.

    It is part of the record, so that it is there or not: a run that is stopped meanwhile begins with round 0 again,
    and one that goes on from a later round has it already.
    """
    clock = Stopwatch()
    with clock("alone"):
        alone = [accuracy_alone(task, config, head, client, progress) for client in range(config.clients)]
    progress(ALONE, config.clients, config.clients)
    seconds = record.seconds | {"alone": round(clock.seconds["alone"], 4)}
    return replace(record, alone=rounded(alone), seconds=seconds)
