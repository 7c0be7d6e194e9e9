"""How long a run will probably take, from how long runs took: here, or else on the machine that recorded them.

What a run computes is known: images times epochs, test images, the head. Seconds of each come from runs of the same
network. What lies outside its rounds, start-up and features, is the rest of the time between its first and last sign.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from deltamask.base.units import ceil
from deltamask.config import RunConfig
from deltamask.methods import methods
from deltamask.methods.participation import is_everybodys
from deltamask.runs.reader import Run
from deltamask.studies.forecast.ranges import Range, relative

SAME_WORK = ("backbone", "masked_blocks", "image_size", "head_init", "dp")  # what a training step costs depends on
JUDGED = 5  # runs, the latest ones, of which the median counts
TESTED = 40  # runs, the latest ones, that are forecast from the others to see how far off that is


@dataclass(frozen=True)
class Pace:
    """How fast a run went, in seconds. around: outside its rounds, None where nobody noted it or it was paused.
    rounds: in all of them. local: did this machine run it?"""

    config: RunConfig
    a_sample: float
    a_test_image: float
    a_probed_sample: float
    around: float | None
    rounds: float
    local: bool

    @property
    def whole(self) -> float | None:
        """From its first sign to its last."""
        return None if self.around is None else self.rounds + self.around


@dataclass(frozen=True)
class Time:
    """seconds: of the whole run, start-up and features included. runs: how many it is judged from. local: were they
    made here? If not, calibrated: do runs of other networks that were made here say how fast this machine is?"""

    seconds: Range
    runs: int
    local: bool
    calibrated: bool


def pace_of(run: Run, local: Path) -> Pace | None:
    """None for a run whose records have no seconds. local: the folder of runs that this machine made."""
    records = [record for record in run.records if record["round"] > 0 and record["clients"]]
    if not records or run.uploaded:
        return None
    samples = sum(client["samples"] for record in records for client in record["clients"]) * run.config.local_epochs
    tested = sum(record["seconds"].get("evaluate", 0.0) for record in records)
    work = sum(sum(record["seconds"].values()) for record in records) - tested
    first = run.records[0]
    probed = sum(client["samples"] for client in first["clients"]) * _head_epochs(run.config)
    whole = sum(sum(record["seconds"].values()) for record in run.records)
    return Pace(
        config=run.config,
        a_sample=work / max(1, samples),
        a_test_image=tested / (len(records) * run.config.test_samples),
        a_probed_sample=first["seconds"].get("train", 0.0) / max(1, probed) if first["round"] == 0 else 0.0,
        around=_around(run, whole),
        rounds=whole,
        local=run.path.absolute().parent == local.absolute(),
    )


def _around(run: Run, whole: float) -> float | None:
    """Seconds between a finished run's first and last sign that were no round's. A pause counts as none: too long."""
    try:
        begun, ended = (datetime.fromisoformat(str(each)) for each in _signs(run))
    except (TypeError, ValueError):
        return None
    around = (ended - begun).total_seconds() - whole
    return around if 0 <= around <= max(600.0, 2 * whole) else None


def _signs(run: Run) -> tuple[object, object]:
    return run.provenance.get("created"), run.status.get("heartbeat")


def expected_time(config: RunConfig, paces: Sequence[Pace]) -> Time | None:
    """From the latest runs of the same network, this machine's if there are any; None where there is no such run.

    paces: the latest first. Start-up and features together last as long as in those runs, the shortest to the longest:
    features that are kept from before cost nothing, others in proportion to the images.
    """
    like = _like(config, paces)
    if not like:
        return None
    factor = 1.0 if like[0].local else machine_factor(paces)
    around = [pace.around for pace in like if pace.around is not None] or [0.0]
    images = config.train_samples / max(1, min(pace.config.train_samples for pace in like))
    outside = Range(float(np.median(around)), min(around), max(around) * max(1.0, images), len(around))
    rounds = relative(_median(config, like), np.array(_errors(like)))
    seconds = rounds.plus(outside).times(factor or 1.0)
    return Time(replace(seconds, errors=rounds.errors), min(len(like), JUDGED), like[0].local, factor is not None)


def machine_factor(paces: Sequence[Pace]) -> float | None:
    """How many times as long as on the machine that recorded them this one takes for runs, by the median of those that
    it made of networks that were recorded too; None where it made none."""
    recorded = [pace for pace in paces if not pace.local]
    ratios = [
        pace.rounds / _median(pace.config, like)
        for pace in paces
        if pace.local and (like := _like(pace.config, recorded))
    ]
    return float(np.median(ratios)) if ratios else None


def _like(config: RunConfig, paces: Sequence[Pace]) -> list[Pace]:
    """Those of the same network that train the same part of it: this machine's, or if there are none the others."""
    like = [pace for pace in paces if _work(pace.config) == _work(config)]
    return [pace for pace in like if pace.local] or like


def _work(config: RunConfig) -> tuple[object, ...]:
    return (methods[config.method].sends in ("head", "nothing"), *(getattr(config, name) for name in SAME_WORK))


def _median(config: RunConfig, like: Sequence[Pace]) -> float:
    """Seconds of all rounds, by the median of the latest."""
    return float(np.median([_rounds(config, pace) for pace in like[:JUDGED]]))


def _errors(like: Sequence[Pace]) -> list[float]:
    """ln of what each of the latest took over what the others say that it takes; none of a single one."""
    tested = like[:TESTED]
    others = [[other for other in tested if other is not pace] for pace in tested]
    pairs = zip(tested, others, strict=True)
    return [math.log(pace.rounds / _median(pace.config, rest)) for pace, rest in pairs if rest]


def _rounds(config: RunConfig, pace: Pace) -> float:
    """The config's seconds in rounds if its images went as fast as those of a run."""
    share = config.train_samples * config.clients_per_round / config.clients  # images seen in a round
    a_round = pace.a_sample * share * config.local_epochs + pace.a_test_image * config.test_samples
    answers = config.clients if is_everybodys(config) else config.clients_per_round
    head = pace.a_probed_sample * config.train_samples * answers / config.clients * _head_epochs(config)
    alone = 0.0
    if config.compare_alone:
        epochs = ceil(config.rho * config.rounds) * config.local_epochs
        alone = pace.a_sample * config.train_samples * epochs
        alone += pace.a_test_image * config.test_samples * config.clients
    return config.rounds * a_round + head + alone


def _head_epochs(config: RunConfig) -> int:
    """How often a client goes through its samples for the head: statistics are taken once."""
    return 1 if is_everybodys(config) else config.probe_epochs
