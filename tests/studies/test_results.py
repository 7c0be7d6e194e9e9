"""`deltamask results`: from run folders to tables and document, against figures computed here with plain Python."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from statistics import fmean, stdev

import pandas as pd
import pytest

from deltamask.base.paths import results_dir, sweeps_dir
from deltamask.runs import StoreError
from deltamask.studies import tables as tables
from deltamask.studies.document import DocumentError, figures, render
from deltamask.studies.experiments import Experiment, read_experiment
from deltamask.studies.tables import Results, difference, gather, option_effects
from tests.support import tiny
from tests.support.study import (
    FILE,
    HANDS,
    HANDS_FLIPS,
    T2,
    command,
    raw,
    read_csv,
    results_of,
)

ROOT = Path(__file__).resolve().parents[2]


def test_the_summary_is_what_the_records_say(copied: Path) -> None:
    assert command(copied) == 0
    rows = read_csv(copied / "data" / "summary.csv")
    assert [(row["arm"], row["label"], row["seeds"], row["rounds"]) for row in rows] == [
        ("filter-bfuse8", "Filter, bfuse8", "3", "12"),
        ("filter-gap", "Filter, gap", "3", "12"),
        ("fedpm", "FedPM", "3", "12"),
    ]
    for row in rows:
        hands = HANDS if row["arm"] == "fedpm" else HANDS | HANDS_FLIPS
        for name, of in hands.items():
            values = [of(raw(copied, row["arm"], seed)) for seed in (0, 1, 2)]
            assert float(row[name]) == pytest.approx(fmean(values), rel=2e-6), (row["arm"], name)
            width = T2 * stdev(values) / math.sqrt(3)
            assert float(row[f"{name}_ci95"]) == pytest.approx(width, rel=1e-3, abs=1e-9), (row["arm"], name)
    assert rows[2]["kept"] == rows[2]["kept_ci95"] == ""  # FedPM has no flips
    assert float(rows[1]["false_flips"]) == 0 < float(rows[0]["false_flips"])


def test_rounds_are_tidy(copied: Path) -> None:
    assert command(copied) == 0
    rows = read_csv(copied / "data" / "rounds.csv")
    assert len(rows) == 9 * 13
    row = next(r for r in rows if (r["arm"], r["seed"], r["round"]) == ("filter-bfuse8", "1", "7"))
    record = raw(copied, "filter-bfuse8", 1)[7]
    for name in ("uplink_bytes", "downlink_bytes", "accuracy", "flips", "false_flips", "bpp_up", "accuracy_worst"):
        assert float(row[name]) == pytest.approx(record[name], rel=1e-6), name
    assert float(row["bpp_total"]) == pytest.approx(record["bpp_up"] + record["bpp_down"], rel=1e-6)
    assert (row["sampled"], row["clients"], row["dropped"]) == ("2", "4", "0")
    described = [json.loads(line) for line in (copied / "data" / "runs.jsonl").read_text().splitlines()]
    assert [(each["arm"], each["seed"]) for each in described][:4] == [
        ("filter-bfuse8", 0), ("filter-bfuse8", 1), ("filter-bfuse8", 2), ("filter-gap", 0),
    ]  # fmt: skip
    assert {each["d"] for each in described} == {tiny.D}
    assert described[4]["config"]["codec"] == "gap"


def test_the_document_says_what_the_summary_holds_and_keeps_its_prose(copied: Path) -> None:
    assert command(copied) == 0
    text = (copied / "results.md").read_text()
    rows = {row["arm"]: row for row in read_csv(copied / "data" / "summary.csv")}

    def said(row: dict[str, str], name: str, digits: int) -> str:
        value, width = float(row[name]), float(row[f"{name}_ci95"])
        if name.startswith("accuracy") and (value - width < 0 or value + width > 1):
            low, high = max(0.0, value - width), min(1.0, value + width)
            return f"{value:.4f} ({low:.4f} to {high:.4f})".replace("(0.0000 to", "(0 to").replace(
                "to 1.0000)", "to 1)"
            )
        return f"{value:,.{digits}f} ± {width:,.{digits}f}"

    for row in rows.values():
        cells = [row["label"], "3", *(said(row, name, 4) for name in ("accuracy", "accuracy_worst", "accuracy_spread"))]
        names = ("bpp_up", "bpp_up_all", "bpp_total_all")
        bits = [said(row, name, 2 if float(row[name]) >= 10 else 4) for name in names]
        counts = [said(row, name, 0) if row[name] else "–" for name in ("kept", "false_flips")]
        assert "| " + " | ".join([*cells, *bits, said(row, "megabytes", 2), *counts]) + " |" in text
        even = [f"accuracy_{name}" for name in ("worst", "worst_tenth", "best_tenth", "spread", "jain")]
        assert "| " + " | ".join([row["label"], "3", *(said(row, name, 4) for name in even)]) + " |\n" in text
    assert f"Before <!-- made: value small fedpm bpp_up -->{said(rows['fedpm'], 'bpp_up', 4)}<!-- /made -->" in text
    assert text.startswith("# Small\nBefore ")
    assert text.endswith(" points<!-- /made -->. After.\n")
    assert "old" not in text
    best = max(rows.values(), key=lambda row: float(row["accuracy"]))
    assert f"- Most accurate: **{best['label']}**, {said(best, 'accuracy', 4)} at" in text
    assert "What is it worth?\n\nAll arms: " in text
    assert "`rho` 0.5" in text


def test_the_tables_alone_make_the_same_again(copied: Path) -> None:
    assert command(copied) == 0
    before = {path: path.read_bytes() for path in [*(copied / "data").iterdir(), copied / "results.md"]}
    shutil.rmtree(copied / "runs")
    assert command(copied) == 0
    assert {path: path.read_bytes() for path in before} == before


def test_missing_and_unfinished_runs_are_named_and_not_counted(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(copied / "runs" / "small" / "fedpm-s1")
    for seed in (0, 2):
        records = copied / "runs" / "small" / f"filter-gap-s{seed}" / "rounds.jsonl"
        records.write_text("".join(records.read_text().splitlines(keepends=True)[:-1]))
    assert command(copied) == 0
    assert "small/fedpm-s1: missing, not run yet" in capsys.readouterr().err
    rows = {row["arm"]: row for row in read_csv(copied / "data" / "summary.csv")}
    assert {arm: row["seeds"] for arm, row in rows.items()} == {"filter-bfuse8": "3", "filter-gap": "1", "fedpm": "2"}
    assert rows["filter-gap"]["accuracy_ci95"] == ""  # one seed: no interval
    text = (copied / "results.md").read_text()
    assert "3 of 9 runs are missing: `filter-gap-s0` (cut short), `filter-gap-s2` (cut short), `fedpm-s1`" in text
    assert f"| Filter, gap | 1 | {float(rows['filter-gap']['accuracy']):.4f} | " in text


def test_rows_of_a_changed_experiment_are_dropped(copied: Path) -> None:
    assert command(copied) == 0
    file = copied / "experiments" / "small.toml"
    file.write_text(FILE.replace('method = "fedpm"', 'method = "fedpm"\nlr = 0.2').replace('"bfuse8", ', ""))
    with pytest.raises(StoreError, match=r"there lr is 0\.1, in the experiment 0\.2"):
        results_of(copied)
    shutil.rmtree(copied / "runs")
    results = results_of(copied)
    assert [(run["arm"], run["seed"]) for run in results.runs] == [("filter-gap", seed) for seed in (0, 1, 2)]
    assert set(results.summary["arm"]) == set(results.rounds["arm"]) == {"filter-gap"}
    assert set(results.missing.values()) == {"the tables hold it with another config"}


def test_damaged_tables_are_an_error_with_a_name(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(copied) == 0
    (copied / "data" / "runs.jsonl").write_text("{")
    assert command(copied) == 1
    assert f"{copied / 'data'}: the tables cannot be read" in capsys.readouterr().err


def test_differences_are_paired_by_seed(copied: Path) -> None:
    gaps = [
        HANDS["accuracy"](raw(copied, "filter-gap", s)) - HANDS["accuracy"](raw(copied, "fedpm", s)) for s in range(3)
    ]
    results = results_of(copied)
    found = difference(results, "small", "filter-gap", "fedpm")
    width = T2 * stdev(gaps) / math.sqrt(3)
    assert (found.mean, found.seeds) == pytest.approx((fmean(gaps), width), rel=1e-4)
    assert found.pairs == 3
    text = render("<!-- made: difference small filter-gap fedpm --><!-- /made -->", results)
    assert f">{100 * fmean(gaps):+.2f} ± {100 * width:.2f} points<" in text


def made_up(tmp_path: Path, arms: str, accuracy: dict[str, float], up: dict[str, float]) -> tuple[Experiment, Results]:
    """Results of one round a run, with these figures."""
    file = tmp_path / "made.toml"
    file.write_text(f'title = "t"\nquestion = "q"\nseeds = [0]\n[base]\nrounds = 1\n{arms}')
    experiment = read_experiment(file)
    rows = [
        {"experiment": "made", "arm": arm.name, "seed": 0, "round": 1, "accuracy": accuracy[arm.name],
         "bpp_up": up[arm.name], "bpp_down": 1.0, "bpp_total": 1 + up[arm.name], "clients": 5, "dropped": 0,
         "uplink_bytes": up[arm.name] * 5e6 / 8, "downlink_bytes": 5e6 / 8}
        for arm in experiment.arms
    ]  # fmt: skip
    rounds = pd.DataFrame(rows, columns=[*tables.KEY, *tables.RECORDED, "clients", "dropped"])
    labels = {("made", arm.name): arm.label for arm in experiment.arms}
    return experiment, Results([experiment], [], rounds, tables.summarise(rounds, labels), {})


def test_what_an_option_is_worth_counts_pairs_that_differ_in_it_alone(tmp_path: Path) -> None:
    arms = '[arms.x]\nnoise = ["shared", "per_client"]\ncodec = ["bfuse8", "gap"]\n'
    accuracy = {"x-shared-bfuse8": 0.80, "x-shared-gap": 0.81, "x-per_client-bfuse8": 0.85, "x-per_client-gap": 0.83}
    up = {"x-shared-bfuse8": 0.08, "x-shared-gap": 0.02, "x-per_client-bfuse8": 0.16, "x-per_client-gap": 0.02}
    experiment, results = made_up(tmp_path, arms, accuracy, up)
    effects = option_effects(results, experiment)
    by_option = {
        field: sorted((row["points"], row["up"]) for row in rows.to_dict("records"))
        for field, rows in effects.groupby("field")
    }
    assert by_option.keys() == {"noise", "codec"}
    assert by_option["noise"] == [pytest.approx((2, 1)), pytest.approx((5, 2))]
    assert by_option["codec"] == [pytest.approx((-2, 0.125)), pytest.approx((1, 0.25))]
    text = render("<!-- made: worth made --><!-- /made -->", results)
    assert "| `noise` | shared → per_client | 2 | +3.50 (+2.00 to +5.00) | × 1.41 (1.00 to 2.00) |" in text
    assert "| `codec` | bfuse8 → gap | 2 | -0.50 (-2.00 to +1.00) | × 0.18 (0.12 to 0.25) |" in text


def test_statements_name_the_best_within_a_budget(tmp_path: Path) -> None:
    arms = "[arms.dense]\nlr=0.2\n[arms.above]\nlr=0.25\n[arms.below]\nlr=0.3\n[arms.least]\nlr=0.4\n"
    accuracy = {"dense": 0.9, "above": 0.895, "below": 0.89, "least": 0.88}
    up = {"dense": 32.0, "above": 0.0301, "below": 0.0299, "least": 0.001}
    _, results = made_up(tmp_path, arms, accuracy, up)
    lines = render("<!-- made: statements made --><!-- /made -->", results).splitlines()
    assert "- Most accurate: **dense**, 0.9000 at 32.00 bpp up, 33.00 up + down." in lines
    behind = "(-1.00 points against the most accurate)"
    assert f"- At ≤ 0.03 bpp up: **below**, 0.8900 at 0.0299 bpp up, 1.0299 up + down {behind}." in lines
    assert any(line.startswith("- At ≤ 0.1 bpp up: **above**, ") for line in lines)
    assert "- At ≤ 0.15 bpp up + down: none." in lines
    assert "- One seed: no interval." in lines


def test_a_choice_at_the_edge_is_called_one(tmp_path: Path) -> None:
    arms = '[arms.a]\nlabel = "A"\nlr = [0.1, 0.2, 0.4]\n[arms.b]\nmethod = "fedpm"\nlr = [0.1, 0.2, 0.4]\n'
    accuracy = {"a-lr0.1": 0.7, "a-lr0.2": 0.8, "a-lr0.4": 0.75, "b-lr0.1": 0.7, "b-lr0.2": 0.8, "b-lr0.4": 0.85}
    _, results = made_up(tmp_path, arms, accuracy, dict.fromkeys(accuracy, 1.0))
    lines = render("<!-- made: choices made accuracy_end --><!-- /made -->", results).splitlines()
    assert "| A | lr 0.1: 0.7000; lr 0.2: 0.8000; lr 0.4: 0.7500 | **lr 0.2** |" in lines
    assert lines[-3].endswith("| **lr 0.4**, at the edge of what was tried |")


@pytest.mark.parametrize(
    ("mark", "complaint"),
    [
        ("<!-- made: tabel small --><!-- /made -->", "no such kind; kinds: settings, table"),
        ("<!-- made: table large --><!-- /made -->", "no experiment 'large'; there are: small"),
        ("<!-- made: table --><!-- /made -->", "table takes EXPERIMENT"),
        ("<!-- made: value small fedpn accuracy --><!-- /made -->", "no arm 'fedpn'; arms: filter-bfuse8, "),
        ("<!-- made: value small fedpm accurcy --><!-- /made -->", "no measure 'accurcy'; measures: accuracy, "),
        ("<!-- made: table small -->\nprose\n<!-- made: table small --><!-- /made -->", "has no <!-- /made --> of its"),
        ("<!-- made: table small -->", "has no other half"),
        ("<!-- /made -->", "has no other half"),
    ],
)
def test_wrong_marks_are_refused_and_nothing_is_written(
    copied: Path, capsys: pytest.CaptureFixture[str], mark: str, complaint: str
) -> None:
    (copied / "results.md").write_text(mark)
    assert command(copied) == 2
    assert complaint in capsys.readouterr().err
    assert (copied / "results.md").read_text() == mark
    assert not (copied / "data").exists()
    with pytest.raises(DocumentError):
        render(mark, results_of(copied))


def test_the_document_that_ships_is_what_the_shipped_tables_say() -> None:
    """Whoever changes an experiment, a table or a block by hand is found out: `deltamask results` makes it again."""
    document = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    experiments = [read_experiment(path) for path in sorted((ROOT / "experiments").glob("*.toml"))]
    results = gather(experiments, ROOT / "no-run-folders", results_dir())
    assert render(document, results) == document
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert render(readme, results) == readme
    for kind, name in figures(document):
        if any(experiment.name == name and results.rows(experiment) for experiment in experiments):
            assert (ROOT / "docs" / "results" / f"{name}-{kind}.svg").stat().st_size > 5000


def test_runs_of_sweeps_lie_among_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELTAMASK_RUNS", "/elsewhere")
    assert sweeps_dir() == Path("/elsewhere/sweeps")
