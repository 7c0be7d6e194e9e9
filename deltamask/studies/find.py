"""Find runs by words: `method=fedpm kappa<0.5 accuracy>=0.88 #draft`, of which every term must hold. Needs no torch.

A term is a comparison (`=`, `!=`, `<`, `<=`, `>`, `>=`) of a field of the config, of a headline figure of `summary` or
of `state`; a `#tag`, which is a word of the run's note that begins so; `*` for those with a star; or any other word,
which is looked for in the run's id, its label and its note. Case does not matter.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Iterable

from deltamask.config import RunConfig
from deltamask.runs.figures import SUMMARY
from deltamask.runs.reader import Run
from deltamask.studies.labels import label

Test = Callable[[Run], bool]

ORDER = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
COMPARISON = re.compile(r"(?P<name>[^\s<>=!]+)(?P<sign><=|>=|!=|=|<|>)(?P<value>.*)", re.DOTALL)
SHORT = {"alpha": "dirichlet_alpha", "α": "dirichlet_alpha", "κ": "kappa", "ρ": "rho", "η": "lr"}


class FindError(ValueError):
    """A term that cannot be understood, and why."""


def find(runs: Iterable[Run], query: str) -> list[Run]:
    """Those for which every term of `query` holds, in their order; all for an empty one. FindError for a term that
    names nothing, or compares a word with a number."""
    tests = [_test(term) for term in query.split()]
    return [run for run in runs if all(test(run) for test in tests)]


def tags(run: Run) -> list[str]:
    """The words of its note that begin with `#`."""
    return [word for word in run.mark.note.split() if word.startswith("#") and len(word) > 1]


def _test(term: str) -> Test:
    if term == "*":
        return lambda run: run.mark.star
    if term.startswith("#"):
        return lambda run: term.casefold() in map(str.casefold, tags(run))
    if found := COMPARISON.fullmatch(term):
        return _comparison(found["name"], found["sign"], found["value"])
    word = term.casefold()
    return lambda run: any(word in text.casefold() for text in (run.id, label(run), run.mark.note))


def _comparison(name: str, sign: str, value: str) -> Test:
    name = SHORT.get(name, name)
    read = _reader(name)
    if sign in ORDER:
        number, compare = _number(value), ORDER[sign]
        if number is None:
            raise FindError(f"{name}{sign}{value}: {value!r} is no number")

        def ordered(run: Run) -> bool:
            is_value = read(run)
            if isinstance(is_value, str):
                raise FindError(f"{name} is a word, {is_value!r} for one: ask for {name}=…")
            return is_value is not None and bool(compare(float(is_value), number))

        return ordered
    return lambda run: _same(read(run), value) == (sign == "=")


def _reader(name: str) -> Callable[[Run], bool | float | str | None]:
    """What a run has under this name."""
    if name == "state":
        return lambda run: run.state
    if name in SUMMARY:
        return lambda run: run.summary()[name]
    if name in RunConfig.model_fields:
        return lambda run: getattr(run.config, name)
    near = difflib.get_close_matches(name, [*RunConfig.model_fields, *SUMMARY, "state"], n=1)
    raise FindError(f"no setting or figure is called {name!r}" + (f"; is {near[0]!r} meant?" if near else ""))


def _same(held: bool | float | str | None, asked: str) -> bool:
    if isinstance(held, bool) or held is None or isinstance(held, str):
        return str(held).casefold() == asked.casefold()
    return float(held) == _number(asked)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
