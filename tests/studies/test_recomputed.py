"""Every figure that docs/results.md and README quote, computed again from data/results/*.csv with NumPy alone.

Nothing of the package takes part but the folder's name: not its measures, its intervals, its reader or its writer.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from deltamask.base.paths import results_dir

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("docs/results.md", "README.md")
MARK = re.compile(r"<!-- made: ([^\n]*?) -->(.*?)<!-- /made -->", re.DOTALL)
T = {2: 12.706205, 3: 4.302653, 4: 3.182446, 5: 2.776445}  # Student's t, 97.5 %, for so many values
RATIOS = ("bpp_up_all", "bpp_total_all")
Run = dict[str, np.ndarray]  # column → one value a round


def read_runs() -> dict[tuple[str, str], dict[int, Run]]:
    """(experiment, arm) → seed → the run's rounds."""
    rows: dict[tuple[str, str], dict[int, list[dict[str, str]]]] = {}
    with open(results_dir() / "rounds.csv", newline="") as file:
        for row in csv.DictReader(file):
            rows.setdefault((row["experiment"], row["arm"]), {}).setdefault(int(row["seed"]), []).append(row)
    text = ("experiment", "arm", "seed")
    return {
        arm: {
            seed: {c: np.array([float(r[c] or "nan") for r in run]) for c in run[0] if c not in text}
            for seed, run in seeds.items()
        }
        for arm, seeds in rows.items()
    }


RUNS = read_runs()


def everything(run: Run, *ways: str) -> float:
    """Bits per parameter of all messages, over the rounds after the head's and the clients of one of these."""
    after = run["round"] > 0
    total = 0.0
    for way in ways:
        bits = 8 * run[f"{way}link_bytes"]
        a_round = np.median((bits / run[f"bpp_{way}"])[after])  # d times the clients of a round
        total += bits.sum() / (a_round * after.sum())
    return total


def measured(run: Run, name: str) -> float:
    """A measure of one run."""
    after = run["round"] > 0
    if name.startswith(("accuracy", "better", "gain")):
        count, column = (3, "accuracy") if name == "accuracy_end" else (10, name)
        return float(np.nanmean(run[column][after][-count:]))
    if name.endswith("_all"):
        return everything(run, *{"bpp_up_all": ("up",), "bpp_total_all": ("up", "down")}[name])
    if name.startswith("megabytes"):
        sent = {"megabytes_up": 0, "megabytes_down": 1}.get(name)
        ways = [run["uplink_bytes"], run["downlink_bytes"]]
        return float((sum(ways) if sent is None else ways[sent]).sum() / run["clients"][0] / 1e6)
    return float(run[name][after].mean())


def interval(values: np.ndarray) -> tuple[float, float]:
    """(mean, half width over seeds)."""
    n = len(values)
    return float(values.mean()), float(T[n] * values.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")


def of_arm(experiment: str, arm: str, name: str) -> tuple[float, float]:
    return interval(np.array([measured(run, name) for run in RUNS[experiment, arm].values()]))


def gap(experiment: str, arm: str, other: str, name: str = "accuracy") -> tuple[float, float]:
    """Points of accuracy, or of another share, paired by seed."""
    left, right = RUNS[experiment, arm], RUNS[experiment, other]
    both = sorted(left.keys() & right.keys())
    each = [measured(left[seed], name) - measured(right[seed], name) for seed in both]
    return interval(100 * np.array(each))


def ratio(experiment: str, arm: str, other: str, name: str) -> tuple[float, float]:
    """How many times arm's measure the other's is, paired by seed."""
    left, right = RUNS[experiment, arm], RUNS[experiment, other]
    both = sorted(left.keys() & right.keys())
    return interval(np.array([measured(right[seed], name) / measured(left[seed], name) for seed in both]))


def check(said: str, mean: float, width: float, where: str) -> None:
    """Is `said` this mean with this interval, in the digits that it has?"""
    number = r"[-+]?[\d,]+(?:\.\d+)?"
    found = re.fullmatch(rf"({number})(?: ± ({number})| \(({number}) to ({number})\))?(?: points)?", said)
    assert found, f"{where}: {said!r} is no figure"

    def alike(text: str, value: float) -> bool:
        unit = 10.0 ** -len(text.partition(".")[2])
        return abs(float(text.replace(",", "")) - value) <= 0.5 * unit + 2e-6 * abs(value) + 1e-9

    assert alike(found[1], mean), f"{where}: {said} is said, {mean} computed"
    assert bool(found[2] or found[3]) == np.isfinite(width), f"{where}: {said} is said, ± {width} computed"
    if found[2]:
        assert alike(found[2], width), f"{where}: {said} is said, ± {width} computed"
    if found[3]:
        ends = (max(0.0, mean - width), min(1.0, mean + width))
        digits = f"{len(found[1].partition('.')[2])}"
        for text, end in zip((found[3], found[4]), ends, strict=True):
            assert alike(text if "." in text else f"{text}.{'0' * int(digits)}", end), f"{where}: {said}, {ends}"


def blocks(*kinds: str) -> Iterator[tuple[str, list[str], str]]:
    """(page, words, what is made) of each block of these kinds."""
    for page in PAGES:
        for what, made in MARK.findall((ROOT / page).read_text(encoding="utf-8")):
            if what.split()[0] in kinds:
                yield page, what.split(), made.strip()


def cells_of(made: str) -> tuple[list[str], list[list[str]]]:
    """(head, rows) of the Markdown table in a block."""
    head, _, *rows = (line for line in made.splitlines() if line.startswith("|"))
    return [cell.strip() for cell in head.split("|")[1:-1]], [row.strip("| ").split(" | ") for row in rows]


def labels(experiment: str) -> dict[str, str]:
    """Label → arm."""
    with open(results_dir() / "summary.csv", newline="") as file:
        return {row["label"]: row["arm"] for row in csv.DictReader(file) if row["experiment"] == experiment}


def test_figures_within_sentences() -> None:
    checked = 0
    for page, words, made in blocks("value", "difference"):
        _, experiment, arm, last = words
        wanted = of_arm(experiment, arm, last) if words[0] == "value" else gap(experiment, arm, last)
        check(made, *wanted, f"{page}: {' '.join(words)}")
        checked += 1
    assert checked > 30
    assert {page for page, _, _ in blocks("value", "difference")} == set(PAGES)


COLUMNS = {
    "accuracy": "accuracy", "worst client": "accuracy_worst", "spread": "accuracy_spread", "up a round": "bpp_up",
    "up, all": "bpp_up_all", "up + down, all": "bpp_total_all", "MB a client": "megabytes", "flips sent": "kept",
    "false flips": "false_flips",
}  # fmt: skip


def test_gains_within_sentences() -> None:
    found = list(blocks("gain"))
    for page, words, made in found:
        check(made, *gap(*words[1:]), f"{page}: {' '.join(words)}")
    assert len(found) >= 2


def test_ratios_within_sentences() -> None:
    found = list(blocks("ratio"))
    for page, words, made in found:
        check(made, *ratio(*words[1:]), f"{page}: {' '.join(words)}")
    assert len(found) >= 6


def test_tables() -> None:
    checked = 0
    for page, (_, experiment), made in blocks("table", "short"):
        (_, seeds, *names), rows = cells_of(made)
        arms = labels(experiment)
        assert seeds == "seeds"
        assert {row[0] for row in rows} == set(arms)
        for label, count, *cells in rows:
            assert int(count) == len(RUNS[experiment, arms[label]])
            for name, cell in zip(names, cells, strict=True):
                mean, width = of_arm(experiment, arms[label], COLUMNS[name])
                if cell == "–":
                    assert np.isnan(mean), f"{page}: {experiment}, {label}, {name}"
                    continue
                check(cell, mean, width, f"{page}: {experiment}, {label}, {name}")
                checked += 1
    assert checked > 300


def test_comparisons_and_ratios_of_bits() -> None:
    checked = 0
    for page, (_, experiment, arm), made in blocks("comparisons"):
        _, rows = cells_of(made)
        arms = labels(experiment)
        for label, count, points, _images, _p, _together, *ratios in rows:
            where = f"{page}: {experiment}, {arm} against {label}"
            assert int(count) == len(RUNS[experiment, arm].keys() & RUNS[experiment, arms[label]].keys())
            check(points, *gap(experiment, arm, arms[label]), where)
            for said, name in zip(ratios, RATIOS, strict=True):
                wanted = of_arm(experiment, arms[label], name)[0] / of_arm(experiment, arm, name)[0]
                assert float(said.removeprefix("× ").replace(",", "")) == pytest.approx(wanted, rel=0.006), where
            checked += 1
    assert checked > 10
