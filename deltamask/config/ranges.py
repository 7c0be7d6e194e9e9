"""What a field of RunConfig may be: its range in words, its choices, and values that came as text."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, Any, get_args

import annotated_types
from pydantic import ConfigDict, TypeAdapter, ValidationError

from deltamask.base.registry import find
from deltamask.config.run_config import RunConfig


def choices(name: str) -> list[str]:
    """The values that a field offers by name: a fixed few, or what is registered; none if it is a number or a text."""
    registry = RunConfig.setting(name).registry
    if registry is not None:
        return find(registry).names()
    return [str(choice) for choice in get_args(RunConfig.model_fields[name].annotation)]


def field_range(name: str) -> str:
    """The allowed values of a field in words, e.g. `0 < kappa ≤ 1` or `one of: shared, per_client`."""
    field = RunConfig.model_fields[name]
    if RunConfig.setting(name).prefix is None and (offered := choices(name)):
        return "one of: " + ", ".join(offered)
    low, high = field_bounds(name)
    left = f"{low[0]} {'<' if low[1] else '≤'} " if low else ""
    right = f" {'<' if high[1] else '≤'} {high[0]}" if high else ""
    kind = {"int": "a whole number", "float": "a number", "str": "a text", "bool": "True or False"}[
        type(field.default).__name__
    ]
    return f"{left}{name}{right}" if low or high else kind


def field_bounds(name: str) -> tuple[tuple[float, bool] | None, tuple[float, bool] | None]:
    """((low, exclusive), (high, exclusive)) of a numeric field; None where unbounded."""
    low: tuple[float, bool] | None = None
    high: tuple[float, bool] | None = None
    for rule in RunConfig.model_fields[name].metadata:
        match rule:
            case annotated_types.Ge(ge=bound):
                low = (bound, False)  # type: ignore[assignment]
            case annotated_types.Gt(gt=bound):
                low = (bound, True)  # type: ignore[assignment]
            case annotated_types.Le(le=bound):
                high = (bound, False)  # type: ignore[assignment]
            case annotated_types.Lt(lt=bound):
                high = (bound, True)  # type: ignore[assignment]
    return low, high


def explain_errors(error: ValidationError) -> list[str]:
    """One line a fault: field, value and allowed range."""
    lines = []
    for fault in error.errors():
        name = str(fault["loc"][0]) if fault["loc"] else ""
        if fault["type"] == "extra_forbidden":
            lines.append(f"{name}: no such field; fields: {', '.join(RunConfig.model_fields)}")
        elif name in RunConfig.model_fields:
            lines.append(f"{name} = {fault['input']!r} is out of range: {field_range(name)}")
        else:
            lines.append(str(fault["msg"]).removeprefix("Value error, "))
    return lines


@functools.cache
def _alone(name: str) -> TypeAdapter[Any]:
    """The check of one field by itself: whether fields fit each other is only known when all are there."""
    field = RunConfig.model_fields[name]
    bounded: Any = Annotated[field.annotation, field]
    return TypeAdapter(bounded, config=ConfigDict(allow_inf_nan=False))


def clamp_fields(values: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Read fields that came as text (a URL). Returns (usable values, one note a value that was clamped or dropped).

    Each value is in its own field's range; RunConfig may still refuse them together (more clients than samples).
    """
    usable: dict[str, Any] = {}
    notes: list[str] = []
    for name, text in values.items():
        if name not in RunConfig.model_fields:
            notes.append(f"{name}: no such field, ignored")
            continue
        try:
            usable[name] = _alone(name).validate_python(text)
            continue
        except ValidationError:
            pass
        default = RunConfig.model_fields[name].default
        low, high = field_bounds(name)
        try:
            number = type(default)(float(text)) if isinstance(default, int | float) else None
        except (ValueError, OverflowError):
            number = None
        if number is None or number != number or low is None or high is None:
            notes.append(f"{name} = {text!r} is out of range ({field_range(name)}): using {default}")
            continue
        value = type(default)(min(max(number, low[0]), high[0]))
        if (value, True) in (low, high):  # an open end
            value = default
        notes.append(f"{name} = {text!r} is out of range ({field_range(name)}): using {value}")
        usable[name] = value
    return usable, notes
