"""Every figure has one definition: the page, `show`, `export`, reports and results say the same of a run."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deltamask.base.paths import recorded_dir
from deltamask.cli import main
from deltamask.plots import report
from deltamask.runs import export
from deltamask.runs.figures import SUMMARY, covers_all_clients, fairness, rounds_table, unlikeness
from deltamask.runs.folder import RunFolder
from deltamask.runs.reader import Run, load_run
from deltamask.runs.runner import execute
from deltamask.studies.comparison import Group
from deltamask.studies.experiments import Trial
from deltamask.studies.tables import measure, tidy_rounds
from tests.support import tiny
from tests.support.records import client, finished_run, record

RECORDED = sorted(path.parent.name for path in recorded_dir().glob("*/config.json"))
# The studies' names for figures of a summary.
MEASURED = {
    "worst_client": "accuracy_worst",
    **{name: name for name in ("accuracy", "bpp_up", "bpp_down", "bpp_total")},
}


def spread(records: list[dict[str, Any]], sent: str, bits: str) -> float:
    """8 · all bytes / (d · clients of a usual round · rounds); a round's bytes are divided by d · its clients."""
    return sum(8 * r[sent] for r in records) / (median(8 * r[sent] / r[bits] for r in records[1:]) * len(records[1:]))


def by_hand(path: Path) -> dict[str, float]:
    """The figures, from the file itself."""
    records = [json.loads(line) for line in (path / "rounds.jsonl").read_text().splitlines()]
    after = records[1:]
    return {
        "rounds": records[-1]["round"],
        "accuracy": fmean(r["accuracy"] for r in after[-10:]),
        "worst_client": fmean(r["accuracy_worst"] for r in after[-10:]),
        **{name: fmean(r[name] for r in after) for name in ("bpp_up", "bpp_down", "bpp_total")},
        "bpp_up_all": spread(records, "uplink_bytes", "bpp_up"),
        "bpp_total_all": spread(records, "uplink_bytes", "bpp_up") + spread(records, "downlink_bytes", "bpp_down"),
        **{f"{name}_total": sum(r[name] for r in records) for name in ("bpp_up", "bpp_down", "bpp_total")},
        **{name: sum(r[name] for r in records) for name in ("uplink_bytes", "downlink_bytes")},
    }


def assert_all_say_the_same(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = run.summary()  # what the page draws
    assert summary == pytest.approx(by_hand(run.path), rel=1e-12)
    assert main(["show", str(run.path), "--json"]) == 0
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert shown["summary"] == summary
    export.write(run, tmp_path / "run.json")
    assert json.loads((tmp_path / "run.json").read_text())["summary"] == summary
    trial = Trial("study", "arm", "arm", run.config.seed, run.config)
    (measured,) = measure(tidy_rounds(trial, run)).to_dict("records")
    assert {name: measured[other] for name, other in MEASURED.items()} == {name: summary[name] for name in MEASURED}
    assert measured["megabytes_up"] * 1e6 * run.config.clients == pytest.approx(summary["uplink_bytes"])
    (row,) = report.comparison_rows([run])
    assert {name: row[words] for name, words in report.SUMMARY.items() if name in summary} == {
        name: summary[name] for name in report.SUMMARY if name in summary
    }
    grouped = Group((run,)).summary()
    assert {name: grouped[name] for name in summary} == summary
    assert main(["show", str(run.path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"accuracy {summary['accuracy']:.4f} (mean of the last {min(summary['rounds'], 10)})" in said
    assert f"for its worst client {summary['worst_client']:.4f}" in said


@pytest.mark.parametrize("name", RECORDED)
def test_all_say_the_same_of_a_recorded_run(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert_all_say_the_same(load_run(recorded_dir() / name), tmp_path, capsys)


def test_all_say_the_same_of_a_run_that_samples_its_clients(
    tiny_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of six clients two take part in a round: the worst is nearly always one of those who do not."""
    config = tiny.config(clients=6, rho=0.3, rounds=12, dirichlet_alpha=0.3, keep_payloads="none")
    folder = RunFolder.create(tmp_path / "run", config)
    execute(folder, config, on_record=lambda record: None, show=lambda what, done, total: None)
    run = load_run(folder.path)
    assert_all_say_the_same(run, tmp_path, capsys)
    sampled = fmean(min(c["accuracy"] for c in r["clients"]) for r in run.records[-10:])
    assert run.summary()["worst_client"] < sampled - 0.01


def test_records_without_a_worst_client_take_the_sampled_one_and_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished_run(tmp_path / "old", rounds=2)
    folder = RunFolder(run.path)
    folder.rewind(0)
    for round in (1, 2):
        clients = [client(0, accuracy=0.25), client(1, accuracy=0.75)]
        plain = record(round, clients=clients)
        del plain["accuracy_worst"], plain["accuracy_spread"]
        folder.append(plain)
    old = load_run(run.path)
    assert not covers_all_clients(old.records)
    assert covers_all_clients(old.records[:1])
    assert old.summary()["worst_client"] == 0.25
    assert old.rounds["accuracy_spread"].tolist() == [0.125, 0.25, 0.25]
    assert export.as_json(old)["worst_client_covers"] == "sampled clients"
    assert main(["show", str(run.path)]) == 0
    assert "for its worst sampled client 0.2500" in " ".join(capsys.readouterr().out.split())


def test_a_run_that_has_only_probed_has_no_bits_a_round() -> None:
    rounds = rounds_table([record(0, accuracy=0.4)])
    figures = {name: figure(rounds) for name, figure in SUMMARY.items()}
    assert (figures["accuracy"], figures["bpp_up_total"]) == (0.4, 0.25)
    assert np.isnan(figures["bpp_up"])
    assert isinstance(rounds_table([]), pd.DataFrame)


def test_fairness_by_hand() -> None:
    joined = [0.5] * 10 + [0.2, 0.4] + [0.9] * 8  # 20 clients: a tenth are two
    alone = [0.6] * 5 + [0.5] * 5 + [0.1, 0.1] + [0.8] * 8
    found = fairness(joined, alone)
    mean, squares = (5 + 0.6 + 7.2) / 20, (2.5 + 0.2 + 6.48) / 20
    by_hand = {
        "worst": 0.2, "worst_tenth": 0.3, "best_tenth": 0.9, "spread": (squares - mean**2) ** 0.5,
        "jain": mean**2 / squares, "better_than_alone": 10 / 20, "worse_than_alone": 5 / 20,
        "gain_over_alone": (-0.5 + 0.4 + 0.8) / 20,
    }  # fmt: skip
    assert found == pytest.approx(by_hand)
    assert fairness([0.4, 0.2, 0.9])["worst_tenth"] == 0.2  # at least one
    assert fairness([0.5] * 7)["jain"] == pytest.approx(1)
    assert fairness([0.0, 0.0, 1.0, 0.0])["jain"] == 0.25


@pytest.mark.parametrize(
    ("joined", "alone", "known"), [(None, [0.5], 0), ([], [], 0), ([0.5], None, 5), ([0.5], [], 5)]
)
def test_fairness_of_what_is_not_recorded_is_nan(
    joined: list[float] | None, alone: list[float] | None, known: int
) -> None:
    assert sum(not np.isnan(value) for value in fairness(joined, alone).values()) == known
    assert np.isnan(fairness([0.0, 0.0])["jain"])


def test_unlikeness_by_hand() -> None:
    pooled = (0.5, 0.25, 0.25)  # of 20
    counts = [[10, 0, 0], [0, 5, 5], [0, 0, 0]]
    assert unlikeness(counts).tolist() == pytest.approx([0.5, 0.5, sum(pooled) / 2])
    assert unlikeness([[3, 1], [6, 2]]).tolist() == [0, 0]


def test_the_figures_of_all_clients_are_columns_of_a_run_s_table() -> None:
    """`alone` stands in round 0 and is what every round is compared with."""
    first = record(0, client_accuracy=[0.5, 0.7], client_accuracy_adapted=None, alone=[0.6, 0.6])
    second = record(1, client_accuracy=[0.7, 0.8], client_accuracy_adapted=[0.5, 0.9])
    old = {name: value for name, value in record(2).items() if not name.startswith("client_accuracy")}
    rounds = rounds_table([first, second, {**old, "client_accuracy": None, "client_accuracy_adapted": None}])
    assert rounds["better_than_alone"].tolist()[:2] == [0.5, 1.0]
    assert rounds["gain_over_alone"].tolist()[:2] == pytest.approx([0.0, 0.15])
    assert rounds["better_than_alone_adapted"].tolist()[1] == 0.5
    assert rounds["accuracy_worst_tenth"].tolist()[:2] == [0.5, 0.7]
    assert np.isnan(rounds["better_than_alone_adapted"][0])
    assert rounds.loc[2, ["accuracy_jain", "better_than_alone", "gain_over_alone_adapted"]].isna().all()
    assert not {"clients", "client_accuracy", "class_accuracy", "alone"} & set(rounds)
