"""The recorded runs and what README and charts say of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deltamask.base.paths import recorded_dir
from deltamask.codecs.wire.message import HEADER_BYTES
from deltamask.config.presets import PRESETS
from deltamask.heads import temperature
from deltamask.inspection.replay import theta_before
from deltamask.masking.masks import ONE
from deltamask.plots import chart_table, run_charts
from deltamask.runs.payloads import Payload
from deltamask.runs.reader import Run, list_runs, load_run
from deltamask.studies.comparison import Group
from tests.support.recorded import flips_of

ROOT = Path(__file__).resolve().parents[2]
RECORDED = [name for name in PRESETS if name.startswith(("fashion", "noniid"))]
LARGE = {"fashion-fedpm": [0, 1, 9, 17, 25, 33, 40], "fashion-unbiased": [0, 1, 17, 33, 40]}  # rounds with payloads
LOCAL = (".safetensors", ".lock", ".log", ".tmp")
PICTURED = [name for name in RECORDED if PRESETS[name].keep_payloads == "few"]


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_run_is_finished_and_is_its_preset(name: str) -> None:
    run = load_run(recorded_dir() / name)
    assert run.config == PRESETS[name]
    assert run.state == "finished"
    assert [record["round"] for record in run.records] == list(range(run.config.rounds + 1))
    for record in run.records:
        assert record["uplink_bytes"] == sum(client["uplink_bytes"] for client in record["clients"])
        assert record["bpp_up"] == pytest.approx(8 * record["uplink_bytes"] / (run.task["d"] * len(record["clients"])))


def line_of(run: Run, payload: Payload) -> dict[str, Any]:
    """The record's line of the client that sent a payload."""
    return next(line for line in run.records[payload.round]["clients"] if line["client"] == payload.client)


@pytest.mark.parametrize("name", PICTURED)
def test_kept_payloads_are_the_bytes_that_were_counted(name: str) -> None:
    run = load_run(recorded_dir() / name)
    kept = run.payloads()
    rounds = LARGE.get(name, range(41))
    count = 1 if name in (*LARGE, "fashion-paper", "fashion-deepreduce", "fashion-gap", "noniid-recipe") else 2
    first = {r: [line["client"] for line in run.records[r]["clients"][:count]] for r in rounds}
    assert [(payload.round, payload.client) for payload in kept] == [(r, c) for r in rounds for c in first[r]]
    for payload in kept:
        # A head from statistics takes two exchanges, of which the second, its losses, is not kept.
        losses = HEADER_BYTES + 8 * len(temperature.GRID) if payload.round == 0 and name.startswith("noniid") else 0
        assert len(payload.read()) + losses == payload.size + losses == line_of(run, payload)["uplink_bytes"]


@pytest.mark.parametrize("name", [name for name in PICTURED if name != "fashion-fedpm"])
def test_recorded_payloads_decode_to_the_recorded_counts(name: str) -> None:
    run = load_run(recorded_dir() / name)
    rounds = (1, 9) if run.config.codec == "gap" else (1, 17, 33, 40)  # `gap` needs θ_g, of every round before
    for payload in (payload for round in rounds for payload in run.payloads(round)):
        flips = flips_of(run, payload)
        client = line_of(run, payload)
        assert flips.delta is not None
        assert flips.sent is not None
        assert len(flips.decoded) == client["kept"] + (client["false_flips"] or 0)
        assert (len(flips.delta), len(flips.sent)) == (client["flips"], client["kept"])
        assert np.isin(flips.sent, flips.delta).all()


@pytest.mark.parametrize("name", ["fashion", "fashion-paper", "fashion-recipe", "fashion-deepreduce", "noniid-recipe"])
def test_recorded_broadcasts_still_bring_a_client_what_the_server_had(name: str) -> None:
    """Messages that an older version wrote: who changes their code by a bit finds out here."""
    run = load_run(recorded_dir() / name)
    for round in (1, 5):
        theta = theta_before(run, round + 1)
        assert np.histogram(theta, 20, (0, ONE))[0].tolist() == run.records[round]["theta_histogram"]


def test_a_clone_stays_small() -> None:
    """What git ignores, a checkpoint for instance, is not counted."""
    shipped = [path for path in (ROOT / "data").rglob("*") if path.is_file() and path.suffix not in LOCAL]
    assert len(shipped) <= 300
    assert sum(path.stat().st_size for path in shipped) <= 25e6


def test_data_readme_lists_what_is_recorded() -> None:
    command = [sys.executable, "scripts/ship_runs.py", "--list"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120).stdout
    assert len(listed.splitlines()) == 2 + len(list_runs(recorded_dir()))
    assert (ROOT / "data/README.md").read_text().endswith("\n\n" + listed)


def test_curves_draw_the_records() -> None:
    run = load_run(recorded_dir() / "fashion")
    curve, passed, mark = run_charts.accuracy_curves([run], against="bits", at_round=12).data
    assert list(curve.y) == [record["accuracy"] for record in run.records]
    assert list(curve.x) == pytest.approx(np.cumsum([record["bpp_up"] for record in run.records]))
    assert list(passed.x) == list(curve.x[:13])
    assert (mark.x[0], mark.y[0]) == (curve.x[12], curve.y[12])
    table = chart_table.as_table(run_charts.accuracy_curves([run], against="bits", at_round=12))
    assert table["test accuracy"].tolist() == list(curve.y)  # what is drawn twice is in the table once


def test_legend_names_are_unique() -> None:
    runs = list_runs(recorded_dir())
    names = run_charts.group_names([Group((run,)) for run in (*runs, runs[0])])
    assert len(set(names[:-1])) == len(runs)
    assert names[0] == names[-1]
    assert f" · {runs[0].id}" in names[0]  # the same run twice is told by its folder
