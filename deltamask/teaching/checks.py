"""Checks of exercises: the reader's function is called and compared, with a hint for each common mistake."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from deltamask.base.registry import Registry

Answer = Callable[..., Any]


class Hint(Exception):
    """The answer is not right yet; the message says what to look at, and not what the answer is."""


@dataclass(frozen=True)
class CheckResult:
    """What a check found. message: what is worth knowing about the right answer, or a hint."""

    passed: bool
    message: str


exercises: Registry[Callable[[Answer], str]] = Registry("exercise")
"""name of the reader's function → its check, which returns what to say when it is right and raises Hint otherwise."""


def check_answer(answer: Any) -> CheckResult:
    """Check a reader's function; its own name says which exercise it answers. Whatever is given gets an answer."""
    name = getattr(answer, "__name__", None)
    if not callable(answer) or not isinstance(name, str):
        given = "nothing" if answer is None else f"a {type(answer).__name__}"
        return CheckResult(False, f"`check` wants the function itself, as in check(bpp), and was given {given}.")
    if name not in exercises:
        near = difflib.get_close_matches(name, exercises.names(), 1)
        like = f" Did you mean {near[0]}?" if near else f" There are: {', '.join(exercises.names())}."
        return CheckResult(False, f"No exercise asks for a function called {name!r}.{like}")
    try:
        return CheckResult(True, exercises[name](answer))
    except Hint as hint:
        return CheckResult(False, str(hint))
    except Exception as error:  # the check itself could do nothing with what came
        return CheckResult(False, f"{name} returns something of another kind than asked for ({error}).")


def check(answer: Any) -> None:
    """Check a reader's function, and print what was found."""
    result = check_answer(answer)
    print(f"{'✓ Right.' if result.passed else '○ Not yet.'} {result.message}")


def ask(answer: Answer, *arguments: Any) -> Any:
    """The answer's value for `arguments`. Hint if it has none or raises."""
    try:
        value = answer(*arguments)
    except Exception as error:
        raise Hint(f"{answer.__name__} raised {type(error).__name__}: {error}") from error
    if value is None or value is ...:
        raise Hint(f"{answer.__name__} returns nothing so far. Replace the three dots, then run the cell again.")
    return value


def same(got: Any, wanted: Any, hint: str) -> None:
    """Hint unless `got` is `wanted` in shape and, up to rounding, in value."""
    try:
        value, target = np.asarray(got), np.asarray(wanted)
        if value.shape != target.shape:
            raise Hint(f"The result has shape {value.shape}; {target.shape} was expected. {hint}")
        equal = np.allclose(value.astype(np.float64), target.astype(np.float64), rtol=1e-6, atol=1e-9)
    except (TypeError, ValueError) as error:
        raise Hint(f"The result is a {type(got).__name__}, which cannot be compared with numbers. {hint}") from error
    if not equal:
        raise Hint(hint)


def not_this(got: Any, wrong: Any, hint: str) -> None:
    """Hint if `got` equals `wrong`, the result of a common mistake."""
    try:
        equal = np.allclose(np.asarray(got, np.float64), np.asarray(wrong, np.float64), rtol=1e-6, atol=1e-12)
    except (TypeError, ValueError):
        return
    if equal:
        raise Hint(hint)
