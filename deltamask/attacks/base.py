"""What an attack is: an honest payload, and what the client knows, turned into a payload that lies.

A lie goes through the same codecs and headers as the truth, so that a server cannot tell it by its form.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from deltamask.base.registry import Registry
from deltamask.codecs.wire import dense
from deltamask.config import RunConfig
from deltamask.heads import closed_form
from deltamask.masking import noise
from deltamask.methods.base import Memory, Method, Upload
from deltamask.methods.participation import refits_head

if TYPE_CHECKING:
    from deltamask.task.task import Task

Kind = Literal["flips", "masks", "values", "head", "statistics"]  # of a payload
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Liar:
    """A client that lies, in one round. task: its own data, as it trains on it. memory: what it has of the broadcasts.

    registered: (classes,) the samples that it has said it holds.
    """

    method: Method
    task: Task
    config: RunConfig
    round: int
    client: int
    memory: Memory
    registered: Counts

    def rng(self, purpose: str) -> np.random.Generator:
        """Randomness of its own."""
        return noise.generator(self.config.seed, f"attack {purpose}", round=self.round, client=self.client)


def kind_of(liar: Liar) -> Kind | None:
    """What kind of payload this round asks for; None for one in which nothing can be said."""
    if liar.round == 0 and closed_form(liar.config.head_init) is not None:
        return "statistics" if liar.memory is None else None
    sends = liar.method.sends
    return sends if sends in ("flips", "masks", "values", "head") else None


def _nothing(upload: Upload, liar: Liar) -> Upload:
    return upload


def _as_it_is(counts: Counts) -> Counts:
    return counts


@dataclass(frozen=True)
class Attack:
    """label, about: its name, and a line for people. applies_to: the kinds of payload that it changes.

    corrupt(upload, liar): the payload that is sent instead. claims(counts): what a client says it holds, of (classes,)
    what it holds. labels(y, classes): what it trains on instead of its labels. reads: fields that only attacks read.
    """

    label: str
    about: str
    applies_to: tuple[Kind, ...] = ()
    corrupt: Callable[[Upload, Liar], Upload] = _nothing
    claims: Callable[[Counts], Counts] = _as_it_is
    labels: Callable[[Counts, int], Counts] | None = None
    reads: tuple[str, ...] = field(default=("attackers",), kw_only=True)


attacks: Registry[Attack] = Registry("attack")


def liars(config: RunConfig) -> frozenset[int]:
    """The clients that lie."""
    if not attacks[config.attack].reads:
        return frozenset()
    rng = noise.generator(config.seed, "attackers")
    return frozenset(rng.choice(config.clients, config.attackers, replace=False).tolist())


class Lies:
    """What the liars of a run do to it. Without an attack everything stays as it is."""

    def __init__(self, config: RunConfig, task: Task) -> None:
        self.config, self.honest = config, task
        self.attack, self.liars = attacks[config.attack], liars(config)

    def registered(self) -> Task:
        """The task as the server knows it: with the samples that clients say they hold, no client more than the run's.

        No server believes more than that (`train_samples`); a claim beyond it is cut in proportion.
        """
        counts = self.honest.label_counts.copy()
        for client in self.liars:
            claimed = self.attack.claims(counts[client])
            most = max(self.config.train_samples, int(counts[client].sum()))
            counts[client] = claimed * most // claimed.sum() if claimed.sum() > most else claimed
        return replace(self.honest, holdings=counts) if self.liars else self.honest

    def task_of(self, client: int) -> Task:
        """What a client trains on."""
        if client not in self.liars or self.attack.labels is None:
            return self.honest
        y, shard = self.honest.train_y.clone(), self.honest.shards[client]
        y[shard] = y.new_tensor(self.attack.labels(y[shard].numpy(), len(self.honest.classes)))
        own = replace(self.honest, train_y=y)
        vars(own)["pooled_train"] = self.honest.pooled_train  # of the same images
        return own

    def told(
        self, upload: Upload | str, method: Method, task: Task, server: Task, round: int, client: int, memory: Memory
    ) -> Upload | str:
        """What a client sends in place of its honest upload. server: the task as the server knows it."""
        if client not in self.liars or isinstance(upload, str):
            return upload
        liar = Liar(method, task, self.config, round, client, memory, server.label_counts[client])
        if kind_of(liar) not in self.attack.applies_to:
            return upload
        if not refits_head(self.config, round):
            return self.attack.corrupt(upload, liar)
        update, statistics = dense.unpack(upload.payload, 2)  # of the head's statistics a liar lies in round 0
        if not update:
            return upload
        lie = self.attack.corrupt(replace(upload, payload=update), liar)
        return replace(lie, payload=dense.pack(lie.payload, statistics))
