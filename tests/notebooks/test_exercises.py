"""Exercises: the check refuses what the notebook holds before it is solved, and accepts the solution."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import jupytext
import numpy as np
import pandas as pd
import pytest

from deltamask.teaching import check, check_answer, exercises

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
STEMS = sorted(path.stem for path in NOTEBOOKS.glob("[0-9]*.py"))


def unsolved() -> dict[str, tuple[str, Any]]:
    """name → (notebook, what its exercise cell defines before anybody has worked on it)."""
    found = {}
    for stem in STEMS:
        for cell in jupytext.read(NOTEBOOKS / f"{stem}.py").cells:
            if "exercise" in cell.metadata.get("tags", ()):
                call = re.search(r"^check\((\w+)\)$", cell.source, re.M)
                assert call, f"{stem}: an exercise cell ends in check(...)"
                scope: dict[str, Any] = {"check": lambda answer: None}
                exec(cell.source, scope)
                found[call[1]] = (stem, scope[call[1]])
    return found


UNSOLVED = unsolved()


def test_every_exercise_has_a_check_and_every_check_an_exercise() -> None:
    assert set(UNSOLVED) == set(exercises)
    assert {stem for stem, _ in UNSOLVED.values()} == set(STEMS), "every notebook has an exercise"
    assert {path.stem for path in (NOTEBOOKS / "solutions").glob("*.py")} == set(STEMS)


@pytest.mark.parametrize("name", UNSOLVED)
def test_check_refuses_the_unsolved_exercise_and_accepts_the_solution(name: str) -> None:
    stem, empty = UNSOLVED[name]
    result = check_answer(empty)
    assert not result.passed
    assert "Replace the three dots" in result.message
    solution = runpy.run_path(str(NOTEBOOKS / "solutions" / f"{stem}.py"))[name]
    result = check_answer(solution)
    assert result.passed, result.message


def named(name: str, answer: Any) -> Any:
    answer.__name__ = name
    return answer


@pytest.mark.parametrize(
    ("name", "wrong", "hint"),
    [
        ("fedavg_bytes", lambda p, c, r: 4 * p * c * r, "one direction"),
        ("fedavg_bytes", lambda p, c, r: 64 * p * c * r, "bits"),
        ("bpp", lambda sizes, d: 8 * sum(sizes) / d, "grows with the number of clients"),
        ("rounds_within", lambda budget, head, size: budget // size, "probing round"),
        ("rounds_within", lambda budget, head, size: (budget - head) // size, "Never below zero"),
        ("expected_ones", lambda scores: (scores > 0).sum(), "half of the time"),
        ("score_gradient", lambda g, w, t: g * t * (1 - t), "multiplies a weight"),
        ("find_flips", lambda k, g, u: np.flatnonzero(k != g), "Which \\*masks\\* differ"),
        ("find_flips", lambda k, g, u: (u < k) != (u < g), "shape|positions"),
        ("flip_probability", lambda k, g: k - g, "either direction"),
        ("flip_probability", lambda k, g: k * (1 - g) + g * (1 - k), "independent draws"),
        ("keep_strongest", lambda f, g, k: np.sort(f[np.argsort(g)[: int(np.ceil(k * len(f)))]]), "smallest"),
        ("keep_strongest", lambda f, g, k: f[np.argsort(-g)[: int(np.ceil(k * len(f)))]], "sorted by position"),
        ("fill_filter", lambda slots, own, wanted, total: np.zeros(total), "None of the keys|denies"),
        ("expected_false", lambda d, n, bits: d / 2**bits, "\\*false\\* positives"),
        ("bloom_bits", lambda n, f: n * np.log2(1 / f), "44 % more"),
        ("picture_shape", lambda n: (int(np.ceil(n**0.5)), int(-(-n // np.ceil(n**0.5)))), "swapped"),
        ("sender", lambda m: (int.from_bytes(m[4:8], "big"), int.from_bytes(m[8:12], "big")), "least significant"),
        ("posterior_mode", lambda ones, seen: (1 + ones) / (2 + seen), "mean"),
        ("unbiased_step", lambda theta, before, after: after.mean(0), "Beta"),
        ("mean_decoded_mask", lambda theta, rate: theta + rate, "1 into a 0"),
        ("clients_per_round", lambda rho, n: int(np.ceil(rho * n)), "allow for that"),
        ("accuracy_for_client", lambda by_class, counts: by_class.mean(), "same number|as many samples"),
        ("worst_client", lambda t, r: t.loc[t["accuracy"].idxmin(), "client"], "round 1"),
        ("interval", lambda v: 1.96 * np.std(v, ddof=1) / len(v) ** 0.5, "Student"),
        ("chance_overlap", lambda n, d: n / d, "the other sent too"),
        ("chance_overlap", lambda n, d: n / d / 2, "counted twice"),
        ("growing", lambda y, n: np.array_split(np.arange(len(y)), n), "where client k \\+ 1 begins"),
        ("growing", lambda y, n: np.arange(len(y)), "A list of 5 arrays"),
        ("read_update", lambda t, u, f: np.isin(np.arange(len(t)), f) * np.where(u < t, 1, -1), "Signs are swapped"),
        ("read_update", lambda t, u, f: np.isin(np.arange(len(t)), f) * 1, "has a direction"),
        ("most_found", lambda e, delta, rate: np.exp(e) * rate, "it is added"),
        ("most_found", lambda e, delta, rate: np.exp(e) * rate + delta, "above 1"),
        ("interval", lambda v: "wide", "cannot be compared"),
        ("interval", lambda v: 1 / 0, "ZeroDivisionError"),
    ],
)  # fmt: skip
def test_a_common_mistake_gets_its_own_hint(name: str, wrong: Any, hint: str) -> None:
    result = check_answer(named(name, wrong))
    assert not result.passed
    assert re.search(hint, result.message), result.message


WRONG_KINDS = [
    None, ..., "wide", b"wide", 3, True, 2.5, float("nan"), 1 + 2j, [], [1, "two"], {}, {1}, (), object(), int,
    np.zeros((2, 3)), np.array(["a"]), pd.DataFrame(),
]  # fmt: skip


@pytest.mark.parametrize("name", UNSOLVED)
def test_whatever_comes_back_gets_a_hint_and_no_traceback(name: str) -> None:
    for value in WRONG_KINDS:
        result = check_answer(named(name, lambda *arguments, value=value: value))
        assert not result.passed, value
        assert len(result.message) > 10


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (0.5, "wants the function itself, as in check\\(bpp\\), and was given a float"),
        (None, "was given nothing"),
        ("bpp", "was given a str"),
        (np.zeros(3), "was given a ndarray"),
        (lambda: 1, "No exercise asks for a function called '<lambda>'. There are: .*bpp"),
        (named("interva", lambda values: 1), "Did you mean interval\\?"),
    ],
)
def test_what_is_no_answer_is_told_so(given: Any, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    check(given)
    assert re.search("○ Not yet. .*" + said, capsys.readouterr().out)
