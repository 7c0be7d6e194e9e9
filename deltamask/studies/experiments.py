"""Experiment files: a question, and the runs that answer it. TOML; needs no torch.

title = "False flips"                      # heading in docs/results.md
question = "What do more bits an entry buy?"
seeds = [0, 1, 2]                          # every arm is run with each

[base]                                     # what all arms share: a preset, fields of RunConfig, or both
preset = "fashion"
rounds = 40

[arms.exact]                               # `exact` names the run folders: exact-s0, exact-s1, exact-s2
label = "gap, exact"                       # its name in tables and figures; by default the arm's name
codec = "gap"

[arms.bfuse]
codec = ["bfuse8", "bfuse16"]              # a list makes one arm of each value: bfuse-bfuse8, bfuse-bfuse16
kappa = [0.5, 1.0]                         # several lists make one of each combination: bfuse-bfuse8-kappa0.5 …
seeds = [0]                                # fewer seeds than the others have
"""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from deltamask import backbones, datasets
from deltamask.config import RunConfig, explain_errors, located
from deltamask.config.presets import preset

ARM_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
TEXTS = ("title", "question")
KEYS = (*TEXTS, "seeds", "base", "arms")
OF_ARM = ("label", "seeds")  # what an arm's table holds beside fields


class ExperimentError(ValueError):
    """An experiment file is wrong; one line a fault, each naming file, arm and field."""


@dataclass(frozen=True)
class Arm:
    """One setting, run with each of `seeds`.

    name: of its run folders, without the seed. table: the NAME in [arms.NAME]. chosen: the value that this arm has of
    each field for which that table lists several. config: with the experiment's first seed.
    """

    name: str
    label: str
    table: str
    chosen: tuple[tuple[str, Any], ...]
    config: RunConfig
    seeds: tuple[int, ...]

    @property
    def values(self) -> list[str]:
        """`chosen` in words: a text speaks for itself, a number needs its field's name."""
        return [value if isinstance(value, str) else f"{field} {value}" for field, value in self.chosen]


@dataclass(frozen=True)
class Trial:
    """One run of an experiment."""

    experiment: str
    arm: str
    label: str
    seed: int
    config: RunConfig

    @property
    def folder(self) -> Path:
        """Where its run lies below the folder of all sweeps."""
        return Path(self.experiment) / f"{self.arm}-s{self.seed}"

    def __str__(self) -> str:
        return str(self.folder)


@dataclass(frozen=True)
class Experiment:
    """An experiment file that has been read. name: the file's, without its ending."""

    name: str
    title: str
    question: str
    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]

    @property
    def trials(self) -> list[Trial]:
        """All runs, seed by seed, so that a sweep cut short has compared all arms on the first seeds."""
        return [
            Trial(self.name, arm.name, arm.label, seed, arm.config.replace(seed=seed))
            for seed in self.seeds
            for arm in self.arms
            if seed in arm.seeds
        ]


def read_experiment(path: Path) -> Experiment:
    """Read and check an experiment file. ExperimentError if anything in it is wrong; OSError if it cannot be read."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ExperimentError(f"{path}: no valid TOML: {error}") from error
    faults = list(_faults(content))
    if faults:
        raise ExperimentError("\n".join(f"{path}: {fault}" for fault in faults))

    seeds, base = tuple(content["seeds"]), content.get("base", {})
    arms: list[Arm] = []
    faults += [f"base: {line}" for line in _refusals(base, {}, seeds[0])]
    for arm, entry in content["arms"].items() if not faults else ():
        for chosen in _choices(entry):
            fields = {key: value for key, value in entry.items() if key not in OF_ARM} | dict(chosen)
            lines = _refusals(base, fields, seeds[0])
            faults += [f"arms.{arm}: {line}" for line in lines]
            if not lines:
                config = _config(base, fields, seeds[0])
                arms.append(_arm(arm, entry.get("label", arm), chosen, config, tuple(entry.get("seeds", seeds))))
    faults += _bad_names(arms)
    if faults:
        raise ExperimentError("\n".join(f"{path}: {fault}" for fault in dict.fromkeys(faults)))
    return Experiment(path.stem, content["title"], content["question"].strip(), seeds, tuple(arms))


def _arm(table: str, label: str, chosen: tuple[tuple[str, Any], ...], config: RunConfig, seeds: tuple[int, ...]) -> Arm:
    values = Arm("", "", table, chosen, config, seeds).values
    name = "-".join([table, *(value.replace(" ", "") for value in values)])
    return Arm(name, ", ".join([label, *values]), table, chosen, config, seeds)


def _config(base: dict[str, Any], fields: dict[str, Any], seed: int) -> RunConfig:
    shared = {name: value for name, value in base.items() if name != "preset"}
    config = preset(base["preset"]) if "preset" in base else RunConfig()
    config = located(RunConfig(**{**config.model_dump(), **shared, **fields, "seed": seed}))
    _ = datasets.get(config.dataset), backbones.get(config.backbone)
    return config


def _refusals(base: dict[str, Any], fields: dict[str, Any], seed: int) -> list[str]:
    """One line a fault in these fields, or none."""
    try:
        _config(base, fields, seed)
    except ValidationError as error:
        return explain_errors(error)
    except KeyError as error:  # an unknown preset, dataset or backbone
        return [str(error.args[0])]
    return []


def _choices(entry: dict[str, Any]) -> Iterator[tuple[tuple[str, Any], ...]]:
    """Each combination of the values that an arm lists, as (field, value); one empty combination if it lists none."""
    listed = [field for field, value in entry.items() if isinstance(value, list) and field not in OF_ARM]
    for values in itertools.product(*(entry[field] for field in listed)):
        yield tuple(zip(listed, values, strict=True))


def _faults(content: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the file's shape; the fields' values are RunConfig's to judge."""
    for key in content:
        if key not in KEYS:
            yield f"{key}: no such key; keys: {', '.join(KEYS)}"
    for key in TEXTS:
        if not isinstance(content.get(key), str) or not content[key].strip():
            yield f"{key}: a text is needed"
    seeds = content.get("seeds")
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int and 0 <= seed < 2**32 for seed in seeds):
        yield "seeds: a list of whole numbers from 0 is needed, such as [0, 1, 2]"
    elif len(set(seeds)) < len(seeds):
        yield f"seeds = {seeds}: each counts once"
    base, arms = content.get("base", {}), content.get("arms")
    if not isinstance(base, dict):
        yield "base: a table of fields is needed"
    else:
        for field, value in base.items():
            if field == "seed" or isinstance(value, list):
                yield f"base: {field}: {'`seeds` says which' if field == 'seed' else 'only an arm may list values'}"
    if not isinstance(arms, dict) or not arms or not all(isinstance(arm, dict) for arm in arms.values()):
        yield "arms: at least one table [arms.NAME] is needed"
        return
    for name, arm in arms.items():
        if "seed" in arm:
            yield f"arms.{name}: seed: `seeds` says which"
        if not isinstance(arm.get("label", ""), str):
            yield f"arms.{name}: label: a text is needed"
        own = arm.get("seeds", seeds)
        if isinstance(seeds, list) and not (isinstance(own, list) and all(seed in seeds for seed in own)):
            yield f"arms.{name}: seeds: some of the experiment's {seeds}, as a list"
        for field, value in arm.items():
            if value == []:
                yield f"arms.{name}: {field}: the list is empty"


def _bad_names(arms: list[Arm]) -> Iterator[str]:
    """Arms whose name makes no folder, or that share a folder, or are one run."""
    for arm in arms:
        if not ARM_NAME.fullmatch(arm.name):
            yield f"arms.{arm.name}: a name is made of small letters, digits, dots, hyphens and underscores"
    for first, second in itertools.combinations(arms, 2):
        if first.name == second.name:
            yield f"arms.{first.name}: there are two of this name"
        elif first.config == second.config:
            yield f"arms.{second.name}: the same run as arms.{first.name}"
