"""Who reads which field of RunConfig: what a form disables, and what `--help` says."""

from __future__ import annotations

import functools
from typing import Any

from deltamask.base.registry import find
from deltamask.config.run_config import RunConfig


def readers_of(field: str) -> list[str]:
    """The registered things that read a field, by name; none where every run does."""
    kind = RunConfig.setting(field).reader
    return [] if kind is None else [name for name in find(kind) if field in find(kind)[name].reads]


def is_unread(field: str, config: RunConfig) -> bool:
    """Does a run with this config leave `field` without effect?"""
    kind = RunConfig.setting(field).reader
    if kind is None:
        return False
    entry: Any = find(kind)[getattr(config, _chooser(kind))]
    unread = getattr(entry, "unread", None)
    return field not in entry.reads or (unread is not None and field in unread(config))


@functools.cache
def _chooser(kind: str) -> str:
    """The field that says which of the registered things of this kind a run uses."""
    (chooser,) = [name for name in RunConfig.model_fields if RunConfig.setting(name).registry == kind]
    return chooser
