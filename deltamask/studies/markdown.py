"""What docs/results.md says of the tables, in Markdown: one function a kind of block."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import geometric_mean, median

from deltamask.config import RunConfig
from deltamask.runs.figures import MEASURES
from deltamask.studies import attacks as lies
from deltamask.studies import intervals, tables
from deltamask.studies.experiments import Arm, Experiment
from deltamask.studies.tables import Results, Row, option_effects
from deltamask.studies.wording import COUNTS, gap_text, markdown_table, number, p_text, points, quoted, times

UP_BUDGETS = (0.03, 0.1, 1.0)  # bpp uplink, the head included, for which the best arm is named
TOTAL_BUDGETS = (0.15, 1.0)  # bpp up + down
COLUMNS = {
    "accuracy": "accuracy",
    "accuracy_worst": "worst client",
    "accuracy_spread": "spread",
    "bpp_up": "up a round",
    "bpp_up_all": "up, all",
    "bpp_total_all": "up + down, all",
    "megabytes": "MB a client",
}
OF_CLIENTS = {
    "accuracy_worst": "worst client",
    "accuracy_worst_tenth": "worst tenth",
    "accuracy_best_tenth": "best tenth",
    "accuracy_spread": "spread",
    "accuracy_jain": "Jain's index",
    "better_than_alone": "better off than alone",
    "gain_over_alone": "gain over alone",
    "better_than_alone_adapted": "better off, with label shares",
    "gain_over_alone_adapted": "gain, with label shares",
}
ALWAYS_SAID = ("clients", "rho", "dirichlet_alpha", "rounds")


def figure_file(kind: str, experiment: str) -> Path:
    """Where a figure lies, relative to the document."""
    return Path("results") / f"{experiment}-{kind}.svg"


def table(results: Results, experiment: Experiment) -> str:
    """Every measure of every arm, and which runs are missing."""
    rows = results.rows(experiment)
    if not rows:
        return _none(experiment)
    columns = COLUMNS | (COUNTS if any(row["false_flips"] > 0 for row in rows) else {})
    parts = [_measures(rows, columns), *_test_error(results, experiment, rows), *_missing(results, experiment)]
    parts += [
        f"{quoted(row['label'])}: {row['dropped']:.1f} client updates a run were lost or could not be used."
        for row in rows
        if row["dropped"] > 0
    ]
    return "\n\n".join(parts)


def short(results: Results, experiment: Experiment) -> str:
    """Accuracy and bits of every arm, for a page that has more to say."""
    rows = results.rows(experiment)
    if not rows:
        return _none(experiment)
    return _measures(rows, {name: COLUMNS[name] for name in ("accuracy", "bpp_up_all", "bpp_total_all")})


def _measures(rows: list[Row], columns: Mapping[str, str]) -> str:
    """A line an arm. columns: measure → what stands above it."""
    cells = [[row["label"], str(row["seeds"]), *(_cell(row, name) for name in columns)] for row in rows]
    return markdown_table(["", "seeds", *columns.values()], cells)


def _missing(results: Results, experiment: Experiment) -> list[str]:
    """A sentence that names the runs without which these figures were made; none if all are there."""
    missing = [
        f"`{trial.folder.name}` ({why})"
        for trial, why in results.missing.items()
        if trial.experiment == experiment.name
    ]
    return [f"{len(missing)} of {len(experiment.trials)} runs are missing: {', '.join(missing)}."] if missing else []


def clients(results: Results, experiment: Experiment) -> str:
    """How evenly each arm serves its clients, and who is better off than alone, where that was measured."""
    rows = [row for row in results.rows(experiment) if math.isfinite(row["accuracy_worst_tenth"])]
    if not rows:
        return _none(experiment)
    known = {name: words for name, words in OF_CLIENTS.items() if any(math.isfinite(row[name]) for row in rows)}
    return _measures(rows, known)


def attacks(results: Results, experiment: Experiment) -> str:
    """Accuracy under each attack, without protection and with it; what a liar costs at most, beside the aim."""
    found = lies.lines({(experiment.name, arm.name): arm.config for arm in experiment.arms}, results.rounds)
    if not found:
        return _none(experiment)
    head = ["", "liars", "attack", "accuracy", "lost, points", "protection", "accuracy with it", "lost, points"]
    cells = [
        [named.setting, named.liars, named.lie, *_under_attack(without), with_it.protection if with_it else "–",
         *_under_attack(with_it)]
        for without, with_it in lies.beside(found)
        if (named := without or with_it)
    ]  # fmt: skip
    parts = [markdown_table(head, cells), *_missing(results, experiment)]
    for liars, ends in lies.worst(found).items():
        said = [
            f"{words} {end.lost.mean:+.2f} ({quoted(end.setting)}, {end.lie.lower()})"
            for words, end in zip(("without protection", "with it"), ends, strict=True)
            if end
        ]
        aim = f" The aim: with it, at least {-lies.AIMS[liars]:+g}." if liars in lies.AIMS else ""
        parts += [f"Liars: {liars}. The worst of these, in points: {', '.join(said)}.{aim}"] if said else []
    return "\n\n".join(parts)


def _under_attack(line: lies.Line | None) -> list[str]:
    """Accuracy, and what was lost, each with its interval."""
    if line is None:
        return ["–", "–"]
    lost = line.lost
    said = gap_text(lost.mean / 100, lost.width / 100) if lost.of else "–"
    return [number(line.accuracy.mean, line.accuracy.width, "accuracy"), said]


def settings(results: Results, experiment: Experiment) -> str:
    """The question, what all arms share, and in which fields each differs."""
    dumps = [arm.config.model_dump(exclude={"seed"}) for arm in experiment.arms]
    default = {name: field.default for name, field in RunConfig.model_fields.items()}
    differing = [name for name in dumps[0] if any(dump[name] != dumps[0][name] for dump in dumps)]
    shared = [
        f"`{name}` {value}"
        for name, value in dumps[0].items()
        if name not in differing and (value != default[name] or name in ALWAYS_SAID)
    ]
    cells = [
        [
            arm.label,
            *("" if name != "method" and dump[name] == default[name] else str(dump[name]) for name in differing),
        ]
        for arm, dump in zip(experiment.arms, dumps, strict=True)
    ]
    return (
        f"{quoted(experiment.question)}\n\nAll arms: {', '.join(shared)}; "
        f"seeds {', '.join(map(str, experiment.seeds))}. "
        f"`deltamask sweep experiments/{experiment.name}.toml`\n\n"
        "<details><summary>Settings of each arm (empty: the default)</summary>\n\n"
        f"{markdown_table(['', *(f'`{name}`' for name in differing)], cells)}\n\n</details>"
    )


def statements(results: Results, experiment: Experiment) -> str:
    """What follows from the figures: the most accurate arm, and the most accurate within each budget of bits."""
    rows = results.rows(experiment)
    if not rows:
        return _none(experiment)
    best = max(rows, key=lambda row: row["accuracy"])
    lines = [f"Most accurate: {_named(best)}."]
    for name, budgets, words in (("bpp_up_all", UP_BUDGETS, "up"), ("bpp_total_all", TOTAL_BUDGETS, "up + down")):
        for budget in budgets:
            lines += _within(results, rows, best, name, budget, words)
    with_clients = [row for row in rows if math.isfinite(row["accuracy_worst"])]
    if with_clients:
        kindest = max(with_clients, key=lambda row: row["accuracy_worst"])
        lines.append(f"Best for its worst client: **{quoted(kindest['label'])}**, {_cell(kindest, 'accuracy_worst')}.")
    if all(row["seeds"] == 1 for row in rows):
        lines.append("One seed: no interval.")
    return "\n".join(f"- {line}" for line in lines)


def _within(results: Results, rows: list[Row], best: Row, name: str, budget: float, words: str) -> Iterator[str]:
    """The most accurate arm within a budget that some arms keep and others do not."""
    inside = [row for row in rows if row[name] <= budget]
    if not inside:
        yield f"At ≤ {budget:g} bpp {words}: none."
    elif len(inside) < len(rows):
        first = max(inside, key=lambda row: row["accuracy"])
        gap = ""
        if first["arm"] != best["arm"]:
            pair = tables.difference(results, first["experiment"], first["arm"], best["arm"])
            gap = f" ({points(pair)} against the most accurate)"
        yield f"At ≤ {budget:g} bpp {words}: {_named(first)}{gap}."


def _named(row: Row) -> str:
    up, total = (number(row[name], math.nan, name) for name in ("bpp_up_all", "bpp_total_all"))
    return f"**{quoted(row['label'])}**, {_cell(row, 'accuracy')} at {up} bpp up, {total} up + down"


def choices(results: Results, experiment: Experiment, measure: str = "accuracy") -> str:
    """For each arm that lists values: the measure (higher is better) of each value, and the best one."""
    _check_measure(measure)
    rows = {row["arm"]: row for row in results.rows(experiment)}
    if not rows:
        return _none(experiment)
    lines = []
    for name in dict.fromkeys(arm.table for arm in experiment.arms):
        tried = [arm for arm in experiment.arms if arm.table == name and arm.name in rows]
        if tried:
            best = max(tried, key=lambda arm: float(rows[arm.name][measure]))
            said = [f"{_values(arm)}: {_cell(rows[arm.name], measure)}" for arm in tried]
            label = best.label.removesuffix("".join(f", {value}" for value in best.values))
            lines.append([label, "; ".join(said), f"**{_values(best)}**{_edge(best, tried)}"])
    return markdown_table(["", "tried", "best"], lines)


def _values(arm: Arm) -> str:
    return ", ".join(arm.values) or "as it is"


def _edge(best: Arm, tried: list[Arm]) -> str:
    """A remark where the best of several numbers is the smallest or largest: a better one may lie beyond."""
    numbers = [arm.chosen[0][1] for arm in tried if len(arm.chosen) == 1 and not isinstance(arm.chosen[0][1], str)]
    outermost = len(numbers) > 1 and best.chosen[0][1] in (min(numbers), max(numbers))
    return ", at the edge of what was tried" if outermost else ""


def curves(results: Results, experiment: Experiment) -> str:
    """The figure of accuracy against megabytes sent."""
    return _image(results, experiment, "curves", "accuracy against megabytes a client has sent and received")


def tradeoff(results: Results, experiment: Experiment) -> str:
    """The figure of accuracy against bits."""
    return _image(results, experiment, "tradeoff", "accuracy against bits per parameter")


def worth(results: Results, experiment: Experiment) -> str:
    """The figure, and in numbers what each option changes, over all settings of the others."""
    effects = option_effects(results, experiment)
    if not len(effects):
        return _none(experiment)
    lines = []
    for (field, old, new), pairs in effects.groupby(["field", "old", "new"], sort=False):
        gained, factors = pairs["points"], []
        for factor in (pairs["up"], pairs["total"]):
            factors.append(f"× {geometric_mean(factor):.2f} ({factor.min():.2f} to {factor.max():.2f})")
        spread = f"{gained.mean():+.2f} ({gained.min():+.2f} to {gained.max():+.2f})"
        lines.append([f"`{field}`", f"{old} → {new}", str(len(pairs)), spread, *factors])
    head = ["option", "change", "pairs", "accuracy, points", "up, bpp", "up + down, bpp"]
    return f"{_image(results, experiment, 'worth', 'what each option is worth')}\n\n{markdown_table(head, lines)}"


def value(results: Results, experiment: Experiment, arm: str, name: str) -> str:
    """One figure of the summary, with its interval. KeyError for an arm or a measure that is not there."""
    _check_measure(name)
    row = _row(results, experiment, arm)
    return _cell(row, name) if row else "–"


def difference(results: Results, experiment: Experiment, arm: str, other: str) -> str:
    """One arm's accuracy less another's, paired by seed, in points. KeyError for an arm that is not there."""
    if not (_row(results, experiment, arm) and _row(results, experiment, other)):
        return "–"
    return points(tables.difference(results, experiment.name, arm, other))


def gain(results: Results, experiment: Experiment, arm: str, other: str, name: str) -> str:
    """The same of another share than accuracy. KeyError for an arm or measure that is not there."""
    _check_measure(name)
    if not (_row(results, experiment, arm) and _row(results, experiment, other)):
        return "–"
    found = tables.gain(results, experiment.name, arm, other, name)
    return f"{gap_text(found.mean / 100, found.width / 100)} points"


def ratio(results: Results, experiment: Experiment, arm: str, other: str, name: str) -> str:
    """How many times arm's measure the other's is, paired by seed. KeyError for an arm or measure that is not there."""
    _check_measure(name)
    if not (_row(results, experiment, arm) and _row(results, experiment, other)):
        return "–"
    found = tables.ratio(results, experiment.name, arm, other, name)
    return found.text(0 if found.mean >= 100 else 1 if found.mean >= 10 else 2)


def comparisons(results: Results, experiment: Experiment, arm: str) -> str:
    """One arm against each other one: difference in accuracy, paired by seed and by image, corrected for how many are
    read; and how many times as many bits the other one needs. KeyError for an arm that is not there."""
    own = _row(results, experiment, arm)
    others = [row for row in results.rows(experiment) if row["arm"] != arm]
    if own is None or not others:
        return _none(experiment)
    gaps = [tables.difference(results, experiment.name, arm, row["arm"]) for row in others]
    corrected = intervals.holm([gap.p for gap in gaps])
    cells = [
        [
            row["label"],
            str(gap.pairs),
            gap_text(gap.mean, gap.seeds) if gap.pairs else "–",
            f"± {100 * gap.images:.2f}" if math.isfinite(gap.images) else "–",
            p_text(gap.p),
            p_text(p),
            *(times(row[name] / own[name]) for name in ("bpp_up_all", "bpp_total_all")),
        ]
        for row, gap, p in zip(others, gaps, corrected, strict=True)
    ]
    head = [f"{own['label']} against", "seeds", "points, ± over seeds", "over images", "p", "p, all together"]
    return markdown_table([*head, "bits up", "bits up + down"], cells)


def _test_error(results: Results, experiment: Experiment, rows: list[Row]) -> list[str]:
    """A sentence on what ± leaves out, the error of the test images that all runs share; none if they share none."""
    sizes = [run.get("test_samples") or 0 for run in results.runs if run["experiment"] == experiment.name]
    if not sizes or min(sizes) == 0 or min(sizes) < max(sizes):
        return []
    typical = median(row["accuracy"] for row in rows)
    error = intervals.over_test_images(typical, sizes[0])
    seeds = "± covers seeds" if any(row["seeds"] > 1 for row in rows) else "One seed has no interval"
    return [
        f"{seeds}. The choice of the {sizes[0]:,} images that all are measured on makes an accuracy of {typical:.2f} "
        f"uncertain by ± {error:.4f} (95 %, binomial)."
    ]


def _check_measure(name: str) -> None:
    if name not in MEASURES:
        raise KeyError(f"no measure {name!r}; measures: {', '.join(MEASURES)}")


def _row(results: Results, experiment: Experiment, arm: str) -> Row | None:
    names = [each.name for each in experiment.arms]
    if arm not in names:
        raise KeyError(f"no arm {arm!r}; arms: {', '.join(names)}")
    return next((row for row in results.rows(experiment) if row["arm"] == arm), None)


def _cell(row: Row, name: str) -> str:
    return number(row[name], row[f"{name}_ci95"], name)


def _image(results: Results, experiment: Experiment, kind: str, words: str) -> str:
    if not results.rows(experiment):
        return _none(experiment)
    return f"![{quoted(experiment.title)}: {words}]({figure_file(kind, experiment.name).as_posix()})"


def _none(experiment: Experiment) -> str:
    return f"No finished runs yet: `deltamask sweep experiments/{experiment.name}.toml`."
