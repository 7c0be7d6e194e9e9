"""What runs are called in legends and tables."""

from __future__ import annotations

import re
from collections.abc import Sequence

from deltamask.config import RunConfig, is_unread
from deltamask.methods import methods
from deltamask.runs.reader import Run
from deltamask.studies.tasks import TASK_FIELDS

CHANGED = "[changed midway]"
RANDOM = "random weights"
# What tells runs apart, the most telling first; then whatever else a config has, and its seed last.
KNOBS = (
    "backbone", "dataset", "dirichlet_alpha", "kappa", "codec", "aggregation", "noise", "update_codec", "head_init",
    "head_refit", "local_loss",
)  # fmt: skip
ALWAYS = ("kappa", "codec", "aggregation", "update_codec", "head_init")  # told wherever they differ
UNTOLD = {"method", "weights", "device", "keep_payloads", "masks_every", "seed"}  # told otherwise, or not computed
SYMBOL = re.compile(r"(?<!\w)([α-ω]₀?|[A-Z])(?!\w)")  # in a field's label
SYMBOLS = {
    "head_refit": "head again every",
    "lr": "lr",
    "weight_lr": "lr",
    "probe_lr": "lr",
}  # where the label has none
SAID: dict[str, dict[object, str]] = {
    "noise": {"shared": "shared u", "per_client": "per-client u"},
    "aggregation": {"beta": "Beta"},
    "head_refit": {0: "head kept"},
}


def label(run: Run) -> str:
    """A run's name in legends: method and variant, without the folder's hash; and whether its data changed midway."""
    return config_label(run.config) + (f" {CHANGED}" if run.changes else "")


def config_label(config: RunConfig) -> str:
    """Method, and in brackets how the config varies it."""
    method = methods[config.method]
    words = [*method.variant(config).words]
    if config.weights == "random":
        words.append(RANDOM)
    return f"{method.label} ({', '.join(words)})" if words else method.label


def distinct_labels(configs: Sequence[RunConfig]) -> list[str]:
    """A name for each of these runs that says what tells it from the others here, and nothing else.

    Its method; where tasks differ, as few of their fields as tell them apart; and of the settings that differ among
    the runs of its method those in ALWAYS, and of the others as few as tell them apart. Configs
    that are the same have the same name.
    """
    order = [*KNOBS, *(name for name in RunConfig.model_fields if name not in {*KNOBS, *UNTOLD}), "seed"]
    said: list[list[str]] = [[] for _ in configs]
    for name in _telling(configs, [name for name in order if name in TASK_FIELDS], ()):
        for fields, config in zip(said, configs, strict=True):
            fields += [] if is_unread(name, config) else [name]
    order = [name for name in order if name not in TASK_FIELDS]
    for method in dict.fromkeys(config.method for config in configs):
        family = [at for at, config in enumerate(configs) if config.method == method]
        for name in _telling([configs[at] for at in family], order, ALWAYS):
            for at in family:
                said[at] += [] if is_unread(name, configs[at]) else [name]
    return [_named(config, fields) for config, fields in zip(configs, said, strict=True)]


def _telling(configs: Sequence[RunConfig], order: Sequence[str], always: Sequence[str]) -> list[str]:
    """As few fields of `order` as tell these configs apart: those of `always` that differ, then each time the one that
    parts the most of them, the first in `order` if equal."""
    columns = {name: [None if is_unread(name, c) else getattr(c, name) for c in configs] for name in order}
    differing = [name for name in order if len(set(columns[name])) > 1]
    chosen = [name for name in always if name in differing]

    def parts(names: Sequence[str]) -> int:
        return len(set(zip(*(columns[name] for name in names), strict=True))) if names else 1

    everything = parts(differing)
    while parts(chosen) < everything:
        chosen.append(max(differing, key=lambda name: (parts([*chosen, name]), -order.index(name))))
    return chosen


def _named(config: RunConfig, fields: Sequence[str]) -> str:
    words = [_word(name, getattr(config, name)) for name in fields]
    return ", ".join([methods[config.method].label, *words, *([RANDOM] if config.weights == "random" else [])])


def _word(name: str, value: object) -> str:
    """A setting in a name: `κ 0.5`, `gap`, `seed 1`."""
    setting = RunConfig.setting(name)
    said = SAID.get(name, {})
    if value in said:
        return said[value]
    if isinstance(value, str) and (said or setting.registry):
        return value
    symbol = SYMBOL.search(setting.label)
    words = SYMBOLS.get(name) or (symbol[1] if symbol else setting.label[0].lower() + setting.label[1:])
    return (
        f"{words} {value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else f"{words} {value}"
    )
