"""What to expect of a run before it runs: its bits and its accuracy, from the measured runs that are most like it.

A forecast is no record, and never without its error: that of forecasts of measured runs, each made without that run's
own setting and without whatever is nearer than what the forecast at hand rests on. Bits are those of the neighbours,
changed by what is arithmetic (`message_bits.py`); between two codecs, by their medians in measured runs. No torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from deltamask.config import RunConfig
from deltamask.methods import methods
from deltamask.runs.figures import MEASURES
from deltamask.runs.reader import Run
from deltamask.studies.forecast.likeness import ACCURACY, BITS, Places, setting_of
from deltamask.studies.forecast.message_bits import codec_of, entry_bits, kept_share, value_bits
from deltamask.studies.forecast.ranges import Range, Values, additive, relative
from deltamask.studies.forecast.run_time import Pace, Time, expected_time, pace_of
from deltamask.studies.measured import MeasuredRun

NEIGHBOURS = 3  # settings that a forecast rests on
CLOSEST = 0.1  # added to each distance, so that one neighbour of several is not everything
RINGS = (0.0, 1e-9, 0.3, 1.0, 2.0)  # distances of the nearest neighbour between which errors are told apart
FEWEST = 20  # errors that a range is judged from, at least; if a ring has fewer, the next ones' count as well
KINDS = ("accuracy", "up", "down")
FIGURES = {"accuracy": "accuracy", "up": "bpp_up", "down": "bpp_down", "kept": "kept"}  # by what a Setting calls it

Pool = tuple[object, ...]


@dataclass(frozen=True)
class Forecast:
    """config: of what. accuracy: mean of the last ten rounds. up, down: bits per parameter and client of a round after
    0. Each None where nothing near was measured. time: of the whole run. d: weights, 0 if unknown. head: bpp up and
    down of round 0, as in the nearest run. like: the runs that the bits rest on, or the accuracy where there are none,
    the nearest setting's first. distance: of that setting; 0 for the very setting."""

    config: RunConfig
    accuracy: Range | None
    up: Range | None
    down: Range | None
    time: Time | None
    d: int
    head: tuple[float, float]
    like: tuple[str, ...]
    distance: float

    @property
    def message(self) -> Range | None:
        """Bytes that one client sends in a round."""
        return self.up.times(self.d / 8) if self.up and self.d else None

    def bits(self, way: str, per: str) -> Range | None:
        """What charts draw against: `way` up, down or total; `per` "a round", or everything "so far" at the end."""
        if self.up is None or self.down is None:
            return None
        bits = {"up": self.up, "down": self.down, "total": self.up.plus(self.down)}[way]
        head = {"up": self.head[0], "down": self.head[1], "total": sum(self.head)}[way]
        return bits if per == "a round" else bits.times(self.config.rounds, head)


@dataclass(frozen=True)
class Setting:
    """The finished runs of one setting. accuracy, up, down, kept: (runs,), kept being NaN where no flips are sent."""

    config: RunConfig
    ids: tuple[str, ...]
    d: int
    accuracy: Values
    up: Values
    down: Values
    kept: Values
    head: tuple[float, float]

    def figures(self, kind: str) -> Values:
        values: Values = getattr(self, kind)
        return values


class Memory:
    """What was measured, and how well it forecasts itself. `learn` makes it."""

    def __init__(self, settings: Sequence[Setting], paces: Sequence[Pace] = ()) -> None:
        self.settings, self.paces = tuple(settings), tuple(paces)
        configs = [setting.config for setting in settings]
        self._places = {kind: Places(configs, ACCURACY if kind == "accuracy" else BITS) for kind in KINDS}
        self._where = [_where(config) for config in configs]
        self._factors = self._codec_factors()

    def forecast(self, config: RunConfig, *, without: bool = False) -> Forecast:
        """Of bits and accuracy from runs of the same backbone, weights and dataset, as private and as honest; of time
        from whatever trained the same network. without: leave out the runs of this very setting, to see how far off a
        forecast of them is."""
        found = {kind: self._range(kind, config, RINGS[1] if without else 0.0) for kind in KINDS}
        paces = [pace for pace in self.paces if not (without and setting_of(pace.config) == setting_of(config))]
        accuracy, up, down = (judged[0] if judged else None for judged in found.values())
        _, near, distance = found["up"] or found["accuracy"] or (None, [], math.inf)
        first = self.settings[near[0]] if near else None
        return Forecast(
            config,
            accuracy,
            up,
            down,
            expected_time(config, paces),
            d=first.d if first and first.config.masked_blocks == config.masked_blocks else 0,
            head=self._head(config, near),
            like=tuple(name for at in near for name in self.settings[at].ids),
            distance=distance,
        )

    def _range(self, kind: str, config: RunConfig, least: float) -> tuple[Range, list[int], float] | None:
        """(the figure with its range, its neighbours, the nearest one's distance)."""
        distances = self._distances(kind, config)
        near = self._nearest(distances, least)
        if not near:
            return None
        value, nearest = self._value(kind, config, near, distances), float(distances[near[0]])
        errors = self._errors_at(kind, _pools(kind, config), nearest)
        return (additive if kind == "accuracy" else relative)(value, errors), near, nearest

    def _distances(self, kind: str, config: RunConfig) -> Values:
        """(settings,) to each; infinite where it says nothing of this config."""
        distances = self._places[kind].distances(config)
        where, of_bits = _where(config), kind != "accuracy"
        method = (config.method, config.masked_blocks)  # only runs of one method and one d tell each other's bits
        alike = [
            place == where and not (of_bits and (each.config.method, each.config.masked_blocks) != method)
            for place, each in zip(self._where, self.settings, strict=True)
        ]
        return np.where(alike, distances, np.inf)

    @staticmethod
    def _nearest(distances: Values, least: float) -> list[int]:
        """The settings that a forecast rests on: one at distance 0 alone, else the NEIGHBOURS nearest ones."""
        allowed = np.flatnonzero((distances >= least) & np.isfinite(distances))
        order = allowed[np.argsort(distances[allowed], kind="stable")][:NEIGHBOURS].tolist()
        return order[:1] if order and distances[order[0]] == 0 else order

    def _value(self, kind: str, config: RunConfig, near: Sequence[int], distances: Values) -> float:
        """The neighbours' weighted mean: of accuracies as they are, of bits as logarithms."""
        weights = [(CLOSEST + distances[at]) ** -2 for at in near]
        if kind == "accuracy":
            return float(np.average([self.settings[at].accuracy.mean() for at in near], weights=weights))
        logs = [math.log(max(self.settings[at].figures(kind).mean(), 1e-12)) for at in near]
        if kind == "up":
            logs = [log + math.log(self._ratio(config, self.settings[at])) for log, at in zip(logs, near, strict=True)]
        return math.exp(float(np.average(logs, weights=weights)))

    def _ratio(self, config: RunConfig, of: Setting) -> float:
        """How many times a measured setting's uplink bits this config's are, as far as that is arithmetic."""
        codec, other = codec_of(config), codec_of(of.config)
        kept = float(of.kept.mean())
        if codec is None or other is None or not kept > 0:
            return value_bits(config) / value_bits(of.config)
        share = kept_share(config) / kept_share(of.config)
        density, target = (min(0.5, max(1.0, flips) / of.d) for flips in (kept, kept * share))
        factor = 1.0 if codec == other else self._factors.get(codec, 1.0) / self._factors.get(other, 1.0)
        return factor * share * entry_bits(codec, target) / entry_bits(other, density)

    def _codec_factors(self) -> dict[str, float]:
        """By codec: the median of its bits an entry over those on paper."""
        found: dict[str, list[float]] = {}
        for each in self.settings:
            codec, kept = codec_of(each.config), float(each.kept.mean())
            if codec and each.d and kept > 0:
                bits = float(each.up.mean()) * each.d / kept
                found.setdefault(codec, []).append(bits / entry_bits(codec, min(0.5, kept / each.d)))
        return {codec: float(np.median(factors)) for codec, factors in found.items()}

    def _head(self, config: RunConfig, near: Sequence[int]) -> tuple[float, float]:
        """Of the nearest setting with this head; (0, 0) if none of them has it."""
        like = [at for at in near if self.settings[at].config.head_init == config.head_init]
        return self.settings[like[0]].head if like else (0.0, 0.0)

    def _errors_at(self, kind: str, pools: Sequence[Pool], distance: float) -> Values:
        """Errors of forecasts whose nearest neighbour was about so far, or, since a run that has none nearer is unlike
        others, a ring further. Of the narrowest pool that has FEWEST there; of the widest from all rings if need be."""
        ring, found = _ring(distance), np.zeros(0)
        enough = (pool for pool in pools if len(self.errors.get((kind, pool, ring), found)) >= FEWEST)
        pool = next(enough, pools[-1])
        for at in [*range(ring, len(RINGS)), *range(ring - 1, -1, -1)]:
            if len(found) < FEWEST or (at == ring + 1 and ring):
                found = np.concatenate([found, self.errors.get((kind, pool, at), found[:0])])
        return found

    @cached_property
    def errors(self) -> dict[tuple[str, Pool, int], Values]:
        """By figure, pool and ring: how far off forecasts of measured runs were, each made without what is nearer
        than the ring. Of accuracies the run's less the forecast, of bits ln of their ratio, one for each run."""
        found: dict[tuple[str, Pool, int], list[float]] = {}
        for kind in KINDS:
            for setting in self.settings:
                actual, pools = setting.figures(kind), _pools(kind, setting.config)
                if not (np.isfinite(actual).all() and (kind == "accuracy" or (actual > 0).all())):
                    continue
                if len(actual) > 1:  # from the other seeds of the same setting
                    others = (actual.sum() - actual) / (len(actual) - 1)
                    for pool in pools:
                        found.setdefault((kind, pool, 0), []).extend(_off(kind, actual, others))
                distances = self._distances(kind, setting.config)
                for ring in range(1, len(RINGS)):
                    near = self._nearest(distances, RINGS[ring])
                    if near and _ring(float(distances[near[0]])) == ring:
                        said = np.full(len(actual), self._value(kind, setting.config, near, distances))
                        for pool in pools:
                            found.setdefault((kind, pool, ring), []).extend(_off(kind, actual, said))
        return {of: np.array(errors) for of, errors in found.items()}


def _where(config: RunConfig) -> tuple[object, ...]:
    """Only runs of one place tell anything of each other: one attack nothing of another."""
    return (config.backbone, config.weights, config.dataset, config.dp, config.attack)


def _pools(kind: str, config: RunConfig) -> list[Pool]:
    """Only forecasts of one pool tell how far off each other are, the narrowest first: bits of flips vary, those of
    values hardly; accuracies of one network, or under one promise of privacy, more than those of another."""
    attacked = config.attack != "none"
    if kind == "accuracy":
        return [(attacked, config.dp, config.backbone), (attacked, config.dp)]
    return [(attacked, methods[config.method].sends)]


def _off(kind: str, actual: Values, said: Values) -> list[float]:
    return [float(each) for each in (actual - said if kind == "accuracy" else np.log(actual / said))]


def _ring(distance: float) -> int:
    return int(np.searchsorted(RINGS, distance, side="right")) - 1


def learn(runs: Sequence[Run], local: Path) -> Memory:
    """From the finished runs among these, the latest first, those of the studies' tables too: none that was uploaded or
    changed midway. A run that is there twice counts once. local: the folder of runs that this machine made."""
    finished = [run for run in runs if run.state == "finished" and not run.uploaded and not run.changes]
    by_setting: dict[object, dict[int, Run]] = {}
    for run in finished:
        by_setting.setdefault(setting_of(run.config), {}).setdefault(run.config.seed, run)
    settings = [_setting([*of_seed.values()]) for of_seed in by_setting.values()]
    paces = [pace_of(run, local) for run in finished if not isinstance(run, MeasuredRun)]
    return Memory([each for each in settings if each], [each for each in paces if each])


def _setting(runs: Sequence[Run]) -> Setting | None:
    """None where a run has no rounds after the head's."""
    tables = [_table(run) for run in runs]
    if not all(len(table) > 1 for table in tables):
        return None
    figures = {kind: np.array([MEASURES[name](table) for table in tables]) for kind, name in FIGURES.items()}
    head = tuple(float(tables[0][FIGURES[way]].iloc[0]) for way in ("up", "down"))
    d = int(runs[0].task.get("d", 0))
    return Setting(runs[0].config, tuple(run.id for run in runs), d, head=(head[0], head[1]), **figures)


def _table(run: Run) -> pd.DataFrame:
    """What FIGURES look at, one row a round: a tenth of the work that the whole table is, of all runs at once."""
    names = ["round", *FIGURES.values()]
    if isinstance(run, MeasuredRun):
        return run.rows[names]
    return pd.DataFrame({name: [record[name] for record in run.records] for name in names})
