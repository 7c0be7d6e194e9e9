"""What is predicted of a run: by hand where that can be done, and against every measured run, left out."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from deltamask.base.paths import recorded_dir
from deltamask.config import RunConfig
from deltamask.config.presets import PRESETS
from deltamask.runs.folder import RunFolder, write_json
from deltamask.runs.reader import Run, list_runs, load_run
from deltamask.studies.forecast import SHARE, Memory, Range, hindsight, learn
from deltamask.studies.forecast.likeness import ACCURACY, BITS, Places
from deltamask.studies.forecast.memory import KINDS
from deltamask.studies.forecast.message_bits import entry_bits, kept_share
from deltamask.studies.forecast.ranges import LEAST, additive, relative
from deltamask.studies.measured import measured_runs
from tests.support.records import TASK, client, record

NOWHERE = Path("/nowhere")


@pytest.fixture(scope="module")
def memory() -> Memory:
    """Of all that ships."""
    return learn([*measured_runs(), *list_runs(recorded_dir())], NOWHERE)


def make(root: Path, name: str, accuracy: float, kept: int, bpp: float, **changes: object) -> Run:
    """A finished run of two rounds, of d = 1,600 and two clients that send `kept` flips for `bpp` each."""
    folder = RunFolder.create(root / name, RunConfig(**{"rounds": 2, "clients": 2, **changes}))  # type: ignore[arg-type]
    size = round(bpp * 200)
    for number in range(3):
        clients = [client(at, uplink_bytes=size, flips=kept, kept=kept if number else None) for at in range(2)]
        figures = {"accuracy": accuracy, "bpp_up": bpp, "uplink_bytes": 2 * size, "flips": kept, "kept": kept}
        folder.append(record(number, clients=clients, **figures))
    write_json(folder.path / "task.json", TASK)
    folder.write_status(state="finished")
    return load_run(folder.path)


def test_kappa_and_width_change_the_bits_as_arithmetic_says(tmp_path: Path) -> None:
    run = make(tmp_path, "a", 0.5, 160, 0.9)
    (memory, config) = learn([run], tmp_path), run.config
    half = memory.forecast(config.replace(kappa=0.5)).up
    wide = memory.forecast(config.replace(codec="bfuse16")).up
    both = memory.forecast(config.replace(kappa=0.25, codec="bfuse32")).message
    assert half is not None
    assert wide is not None
    assert both is not None
    assert (half.value, wide.value) == pytest.approx((0.45, 1.8))
    assert both.value == pytest.approx(0.9 * 4 / 4 * 1600 / 8)
    entropy = memory.forecast(config.replace(codec="rice")).up
    assert entropy is not None
    assert entropy.value == pytest.approx(160 / 1600 * (math.log2(10) + math.log2(math.e)) * 0.9 / 0.9)


def test_paper_sizes_of_codecs_and_shares() -> None:
    assert entry_bits("bfuse16-gated", 0.01) == 18
    assert entry_bits("xor8", 0.01) == pytest.approx(9.84)
    assert entry_bits("mask", 0.01) == 100
    assert kept_share(RunConfig(kappa=0.5)) == 0.5
    assert kept_share(RunConfig(kappa=0.5, kappa_schedule="cosine", rounds=1000)) == pytest.approx(0.25, abs=0.01)
    assert kept_share(RunConfig(method="deepreduce", kappa=0.5)) == 1


def test_the_nearest_settings_count_most_and_the_very_setting_alone(tmp_path: Path) -> None:
    near = make(tmp_path, "near", 0.6, 160, 0.9, lr=0.1)
    far = make(tmp_path, "far", 0.8, 160, 0.9, lr=0.4)
    memory = learn([near, far], tmp_path)
    very, between = (memory.forecast(RunConfig(rounds=2, clients=2, lr=lr)) for lr in (0.1, 0.15))
    assert very.accuracy is not None
    assert between.accuracy is not None
    assert (very.accuracy.value, very.distance, very.like) == (pytest.approx(0.6), 0, ("near",))
    assert 0.6 < between.accuracy.value < 0.7
    assert between.like[0] == "near"
    without = memory.forecast(near.config, without=True)
    assert without.accuracy is not None
    assert (without.accuracy.value, without.like) == (pytest.approx(0.8), ("far",))


def test_only_runs_of_the_same_place_tell_anything(tmp_path: Path) -> None:
    memory = learn([make(tmp_path, "a", 0.6, 160, 0.9)], tmp_path)
    there = RunConfig(rounds=2, clients=2)
    for change in ({"dataset": "digits"}, {"backbone": "vit_tiny"}, {"weights": "random"}, {"attack": "zero-mask"}):
        forecast = memory.forecast(there.model_copy(update=change))
        assert (forecast.accuracy, forecast.up, forecast.message) == (None, None, None), change
    for change in ({"method": "fedpm"}, {"masked_blocks": 2}):  # the task is the same, but not what is sent
        forecast = memory.forecast(there.replace(**change))
        assert forecast.accuracy is not None, change
        assert forecast.up is None, change


def test_distances_by_hand() -> None:
    base = RunConfig()
    places = Places([base, base.replace(lr=0.2), base.replace(noise="shared", seed=3), base.replace(lr=10.0)], ACCURACY)
    weight = ACCURACY["lr"]
    assert places.distances(base).tolist() == pytest.approx([0, weight, ACCURACY["noise"], 4 * weight])
    finetune = base.replace(method="finetune")  # which reads no κ, so that κ cannot tell its runs apart
    of_bits = Places([finetune.replace(kappa=0.5)], BITS)
    assert of_bits.distances(finetune).tolist() == [0]


def test_ranges_by_hand() -> None:
    errors = np.array([-0.2, -0.1, 0.0, 0.1, 0.2])
    assert additive(0.5, errors) == Range(0.5, pytest.approx(0.32), pytest.approx(0.68), 5)
    assert additive(0.9, errors).high == 1
    assert relative(100, np.log([1.0, 2.0])) == Range(
        100, pytest.approx(100 * math.exp(-LEAST)), pytest.approx(100 * math.exp(0.95 * math.log(2) + LEAST)), 2
    )
    assert relative(100, np.zeros(0)) == Range(100, 100, 100, 0)
    sum = Range(1, 0.5, 2, 9).plus(Range(10, 9, 12, 4))
    assert (sum.times(2, 1).value, sum.low, sum.high, sum.errors) == (23, 9.5, 14, 4)


def test_measured_runs_come_as_predicted_when_their_setting_is_left_out(memory: Memory) -> None:
    """Every measured run, of its bits and its accuracy: nine of ten within the stated range, which is no wider than
    serves: half of the bits' within a factor of 3.5, half of the accuracies' within 10 points."""
    held: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    wide: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for setting in memory.settings:
        forecast = memory.forecast(setting.config, without=True)
        for kind in KINDS:
            range: Range | None = getattr(forecast, kind)
            if range is not None:
                held[kind] += [range.holds(figure) for figure in setting.figures(kind)]
                wide[kind].append(range.high - range.low if kind == "accuracy" else range.high / range.low)
    assert min(map(len, held.values())) > 250
    for kind in KINDS:
        assert np.mean(held[kind]) >= SHARE, kind
    assert np.median(wide["accuracy"]) < 0.1
    assert np.median(wide["up"]) < 3.5


def test_runs_that_took_no_part_come_as_predicted_too(memory: Memory) -> None:
    """Learn from two thirds of the settings, and predict the rest: neither they nor their errors are in the memory."""
    held: dict[str, list[bool]] = {kind: [] for kind in KINDS}
    for part in (0, 1, 2):
        known = Memory([setting for at, setting in enumerate(memory.settings) if at % 3 != part])
        for setting in memory.settings[part::3]:
            forecast = known.forecast(setting.config)
            for kind in KINDS:
                range: Range | None = getattr(forecast, kind)
                held[kind] += [range.holds(figure) for figure in setting.figures(kind)] if range else []
    assert min(map(len, held.values())) > 200
    for kind in KINDS:
        assert np.mean(held[kind]) >= 0.85, kind


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "vit"])
def test_every_preset_that_ships_measured_has_a_prediction(memory: Memory, preset: str) -> None:
    """And so has a change of κ, of the codec or of α."""
    config = PRESETS[preset]
    for change in ({}, {"kappa": 0.2}, {"codec": "xor16"}, {"dirichlet_alpha": 0.3}):
        forecast = memory.forecast(config.replace(**change))
        assert forecast.accuracy is not None
        assert forecast.accuracy.low < forecast.accuracy.value < forecast.accuracy.high
        assert forecast.message is not None
        assert 0 < forecast.message.low < forecast.message.value < forecast.message.high


def test_bits_for_every_axis(memory: Memory) -> None:
    forecast = memory.forecast(PRESETS["fashion-recipe"])
    up, down, both = (forecast.bits(way, "a round") for way in ("up", "down", "total"))
    so_far = forecast.bits("up", "so far")
    assert up is not None
    assert down is not None
    assert both is not None
    assert so_far is not None
    assert both.value == pytest.approx(up.value + down.value)
    assert so_far.value == pytest.approx(load_run("fashion-recipe").summary()["bpp_up_total"], rel=0.1)


def test_hindsight_says_what_was_measured(memory: Memory) -> None:
    run = load_run("fashion-recipe")
    found = {each.of: each for each in hindsight(memory, run, NOWHERE)}
    assert found["accuracy"].measured == run.summary()["accuracy"]
    assert found["bytes"].measured == pytest.approx(run.summary()["bpp_up"] * run.task["d"] / 8)
    assert found["bytes"].said == memory.forecast(run.config, without=True).message
    without = learn([each for each in measured_runs() if each.config.method != "deltamask"], NOWHERE)
    assert [each.of for each in hindsight(without, run, NOWHERE)] == ["accuracy"]  # no bits, and no times


def test_what_cannot_be_trusted_is_not_learnt_from(tmp_path: Path) -> None:
    good, theirs = make(tmp_path, "a", 0.6, 160, 0.9), make(tmp_path, "b", 0.9, 160, 0.9, kappa=0.5)
    RunFolder(theirs.path).write_status(state="finished", uploaded=True)
    begun = make(tmp_path, "c", 0.9, 160, 0.9, kappa=0.2)
    RunFolder(begun.path).write_status(state="stopped")
    memory = learn(list_runs(tmp_path), tmp_path)
    assert [setting.ids for setting in memory.settings] == [(good.id,)]
