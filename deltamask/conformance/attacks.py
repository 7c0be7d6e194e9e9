"""What must hold for an attack: it lies as it says, its bytes are read or refused, and the run goes on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from deltamask.attacks import Attack, attacks
from deltamask.attacks.base import liars
from deltamask.codecs.conformance import Broken
from deltamask.config import RunConfig
from deltamask.conformance.methods import Seen, played, small_config

RUNS: tuple[dict[str, Any], ...] = (  # each kind of payload once
    {"method": "deltamask", "codec": "gap"}, {"method": "fedpm"}, {"method": "finetune"},
    {"method": "linear-probe", "head_init": "gram"},
)  # fmt: skip
KINDS = (("head", "flips"), ("head", "masks"), ("head", "values"), ("statistics", "head"))  # in round 0, and after it


@functools.lru_cache(maxsize=len(RUNS))
def honest(config: RunConfig) -> Seen:
    """A run without attack, played once for all of them."""
    return played(config)


@functools.lru_cache(maxsize=1)
def attacked(attack: Attack) -> list[tuple[RunConfig, Seen, Seen, tuple[str, str]]]:
    """(config, the run with the attack, the same without it, what its payloads hold in round 0 and afterwards)."""
    name = next(name for name in attacks if attacks[name] is attack)
    runs = []
    for changes, kinds in zip(RUNS, KINDS, strict=True):
        config = small_config(changes["method"]).replace(**changes, rounds=1, attack=name, probe_epochs=2)
        runs.append((config, played(config), honest(config.replace(attack="none")), kinds))
    return runs


def it_says_what_it_is(attack: Attack) -> None:
    """A label and a line about it."""
    if not attack.label.strip() or not attack.about.strip():
        raise Broken("label and about are texts for people, one of them is empty")


def its_payloads_are_read_or_refused_and_the_run_goes_on(attack: Attack) -> None:
    """Both rounds have their records, with all clients in them; no honest client is dropped; the state is finite."""
    for config, seen, _, _ in attacked(attack):
        if [record.round for record in seen.records] != [0, 1]:
            raise Broken(f"{config.method}: the run ended after {len(seen.records)} records")
        for record in seen.records:
            lost = {line.client for line in record.clients if line.dropped} - liars(config)
            if lost or len(record.clients) != config.clients:
                raise Broken(
                    f"{config.method}, round {record.round}: clients {sorted(lost)} lie for nobody, and are lost"
                )
        for name, array in vars(seen.checkpoints[-1].state).items():
            if not np.isfinite(array).all():
                raise Broken(f"{config.method}: {name} is not finite after the attack")


def it_changes_what_it_says_and_nothing_else(attack: Attack) -> None:
    """In round 0, where all clients still know the same: the payloads of liars, and only of kinds that it names."""
    for config, seen, honest, kinds in attacked(attack):
        for client in range(config.clients):
            differs = seen.payloads[0, client] != honest.payloads[0, client]
            lies = client in liars(config) and (kinds[0] in attack.applies_to or attack.labels is not None)
            if differs != lies:
                raise Broken(f"{config.method}, client {client}: {'changed' if differs else 'not changed'} in round 0")


LAWS: dict[str, Callable[[Attack], None]] = {
    law.__name__.replace("_", " "): law
    for law in (
        it_says_what_it_is,
        its_payloads_are_read_or_refused_and_the_run_goes_on,
        it_changes_what_it_says_and_nothing_else,
    )
}
