"""How long a run will take, by hand and against recorded runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deltamask.base.paths import recorded_dir
from deltamask.config import RunConfig
from deltamask.runs.folder import RunFolder, write_json
from deltamask.runs.reader import Run, list_runs, load_run
from deltamask.runs.status import read_json
from deltamask.studies.forecast.run_time import expected_time, machine_factor, pace_of
from tests.support.records import TASK, record

NOWHERE = Path("/nowhere")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Two clients with 10 samples each: 4 s a round, 2 s for 2,000 test images, 3 s for the head; 18 s of rounds within
    25 s."""
    folder = RunFolder.create(tmp_path / "a", RunConfig(rounds=2))
    for round in range(3):
        seconds = {"train": 3.0, "encode": 0.5, "decode": 0.25, "aggregate": 0.25, "evaluate": 2.0}
        folder.append(record(round, seconds=seconds))
    write_json(folder.path / "task.json", TASK)
    folder.write_status(state="finished")
    config, status = (read_json(folder.path / name) or {} for name in ("config.json", "status.json"))
    write_json(folder.path / "config.json", {**config, "created": "2026-11-26T10:00:00+00:00"})
    write_json(folder.path / "status.json", {**status, "heartbeat": "2026-11-26T10:00:25+00:00"})
    return load_run(folder.path)


def test_time_comes_from_seconds_an_image_and_what_lies_around_the_rounds(run: Run, tmp_path: Path) -> None:
    pace = pace_of(run, tmp_path)
    assert pace is not None
    assert (pace.rounds, pace.around, pace.whole) == (18, 7, 25)
    config = RunConfig(rounds=10, train_samples=100, test_samples=1000, probe_epochs=20, local_epochs=2)
    time = expected_time(config, [pace])
    assert time is not None
    rounds = 10 * (100 * 2 * 4 / 20 + 1) + 3 / (20 * 40) * 100 * 20
    assert time.seconds.value == pytest.approx(rounds + 7)
    assert (time.runs, time.local, time.calibrated, time.seconds.errors) == (1, True, True, 0)
    more = expected_time(config.replace(train_samples=12_000), [pace])
    assert more is not None
    assert more.seconds.high - more.seconds.value == pytest.approx(
        7
    )  # twice the images: features may take twice as long
    compared = expected_time(config.replace(compare_alone=True), [pace])
    assert compared is not None
    assert compared.seconds.value - time.seconds.value == pytest.approx(10 * 100 * 2 * 4 / 20 + 5 * 1)
    elsewhere = expected_time(config, [replace(pace, local=False)])
    assert elsewhere is not None
    assert not elsewhere.local
    for change in ({"image_size": 64}, {"masked_blocks": 2}, {"method": "linear-probe"}, {"head_init": "gram"}):
        assert expected_time(config.replace(**change), [pace]) is None, change


def test_this_machine_s_runs_come_first_and_scale_the_others(run: Run, tmp_path: Path) -> None:
    ours = pace_of(run, tmp_path)
    assert ours is not None
    theirs = replace(ours, local=False)
    slow = replace(ours, a_sample=2 * ours.a_sample, rounds=2 * ours.rounds, around=14.0)
    factor = machine_factor([slow, theirs])
    assert factor is not None
    assert factor == pytest.approx(2 * (machine_factor([ours, theirs]) or 0))
    assert machine_factor([theirs]) is None
    here = expected_time(run.config, [slow, theirs])
    other = replace(theirs, config=run.config.replace(image_size=64))
    there = expected_time(other.config, [slow, theirs, other])
    plain = expected_time(other.config, [other])
    assert here is not None
    assert there is not None
    assert plain is not None
    assert here.local
    assert (there.local, there.calibrated, plain.calibrated) == (False, True, False)
    assert there.seconds.value == pytest.approx(factor * plain.seconds.value)


def test_a_pause_is_no_start_up(run: Run, tmp_path: Path) -> None:
    status = read_json(run.path / "status.json") or {}
    write_json(run.path / "status.json", {**status, "heartbeat": "2026-11-27T10:00:00+00:00"})
    pace = pace_of(load_run(run.path), tmp_path)
    assert pace is not None
    assert (pace.around, pace.whole) == (None, None)


def test_recorded_runs_took_as_long_as_the_others_say() -> None:
    runs = [run for run in list_runs(recorded_dir()) if run.id.startswith("fashion")]
    paces = {run.id: pace for run in runs if (pace := pace_of(run, NOWHERE))}
    inside = []
    for name, pace in paces.items():
        time = expected_time(pace.config, [other for each, other in paces.items() if each != name])
        assert time is not None
        assert pace.whole is not None
        assert not time.local
        inside.append(time.seconds.holds(pace.whole))
    assert sum(inside) / len(inside) >= 0.85
