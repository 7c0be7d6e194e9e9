"""A run goes on with what it began with, or says that it did not."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deltamask import RunConfig, load_run
from deltamask.cli import main
from deltamask.datasets import ImageDataset
from deltamask.runs.folder import RunFolder, write_json
from deltamask.runs.runner import execute
from deltamask.runs.status import read_json
from deltamask.studies.comparison import Group
from deltamask.studies.experiments import read_experiment
from deltamask.studies.labels import label
from deltamask.studies.tables import gather
from deltamask.task.world import PACKAGES, differences, world_of
from tests.support import tiny
from tests.support.commands import quiet, uninterrupted
from tests.support.photographs import jpeg, photographs
from tests.support.tiny import timeless


@pytest.fixture
def photos(tiny_cache: Path, tmp_path: Path) -> Path:
    return photographs(tmp_path / "photos", count=12)


def config_of(photos: Path, **changes: Any) -> RunConfig:
    return tiny.config(
        dataset=f"folder:{photos}", clients=2, min_client_samples=2, probe_epochs=2, rounds=3, **changes
    )  # fmt: skip


def begun(config: RunConfig, path: Path, rounds: int = 1) -> Path:
    """A run that was cut short after so many rounds."""
    folder = RunFolder.create(path, config)
    quiet(config.replace(rounds=rounds), folder)
    return path


def another_class(photos: Path) -> None:
    photographs(photos, ("birds",), count=6)


def another_picture(photos: Path) -> None:
    jpeg(photos / "cats" / "IMG_0000.jpg", np.zeros((70, 90, 3), np.uint8))


def fewer_pictures(photos: Path) -> None:
    for path in sorted((photos / "dogs").iterdir())[:5]:
        path.unlink()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (another_picture, "the folder has changed: as many samples as when it began, and others among them"),
        (fewer_pictures, "training samples, 20 when it began"),
    ],
)
def test_other_pictures_are_refused_by_name_and_may_be_accepted(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Path], None], said: str
) -> None:
    path = begun(config_of(photos), tmp_path / "run")
    before = (path / "rounds.jsonl").read_bytes()
    change(photos)
    assert main(["resume", str(path)]) == 1
    complaint = capsys.readouterr().err
    assert said in complaint
    assert "--accept-changes" in complaint
    assert "trunk features" not in complaint  # it was refused before any was computed
    assert (path / "rounds.jsonl").read_bytes() == before

    assert main(["resume", str(path), "--accept-changes"]) == 0
    run = load_run(path)
    assert (run.state, len(run.records)) == ("finished", 4)
    assert run.changes == [line for line in run.changes if line.startswith("after round 1: the folder has changed")]
    assert len(run.changes) == 1
    assert label(run) == Group((run,)).name == "DeltaMask (per-client u, Beta) [changed midway]"
    capsys.readouterr()
    assert main(["show", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "finished, changed midway" in shown
    assert said in shown
    assert main(["show", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["changes"] == run.changes


def test_other_classes_are_refused_whatever_is_accepted(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = begun(config_of(photos), tmp_path / "run")
    another_class(photos)
    for options in ([], ["--accept-changes"]):
        assert main(["resume", str(path), *options]) == 1
        complaint = capsys.readouterr().err
        assert "the folder has changed: 3 classes, 2 when it began (new: birds)" in complaint
        assert "start a new run" in complaint


def test_what_was_accepted_is_what_the_next_resume_compares_with(photos: Path, tmp_path: Path) -> None:
    path = begun(config_of(photos), tmp_path / "run")
    another_picture(photos)
    folder, config = RunFolder(path), config_of(photos)

    def ignore(*anything: object) -> None: ...

    execute(folder, config.replace(rounds=2), on_record=ignore, show=ignore, accept_changes=True)
    assert quiet(config, folder) == "finished"
    assert len(load_run(path).changes) == 1


def test_copied_pictures_are_the_same_and_said_to_be_newer(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_of(photos)
    path = begun(config, tmp_path / "run")
    for picture in photos.rglob("*.jpg"):
        os.utime(picture, (1, 1))
    assert main(["resume", str(path)]) == 0
    assert "the same files by name and size, changed since it began" in capsys.readouterr().err
    assert load_run(path).changes == []


def test_pictures_that_became_unreadable_are_counted(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As when the plugin for their kind is gone: names, sizes and times stay."""
    path = begun(config_of(photos, bad_images="skip"), tmp_path / "run")
    task = read_json(path / "task.json")
    write_json(path / "task.json", {**task, "skipped": ["a.heic", "b.heic"]})
    assert main(["resume", str(path)]) == 1
    assert "0 images cannot be read, 2 when it began" in capsys.readouterr().err


def test_other_weights_are_refused(tiny_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = begun(tiny.config(rounds=3), tmp_path / "run")
    task = read_json(path / "task.json")
    assert task["world"]["weights"] == "seed 20"
    write_json(path / "task.json", {**task, "world": {**task["world"], "weights": "seed 19"}})
    assert main(["resume", str(path)]) == 1
    assert "the weights have changed: seed 20, seed 19 when it began" in capsys.readouterr().err


@pytest.mark.parametrize("package", PACKAGES)
def test_other_versions_are_said_and_not_refused(
    tiny_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], package: str
) -> None:
    config = tiny.config(rounds=2)
    path = begun(config, tmp_path / "run")
    task = read_json(path / "task.json")
    versions = {**task["world"]["versions"], package: "0.0.1"}
    write_json(path / "task.json", {**task, "world": {**task["world"], "versions": versions}})
    assert main(["resume", str(path)]) == 0
    assert (
        f"note: {package} is {task['world']['versions'][package]} now, 0.0.1 when it began" in capsys.readouterr().err
    )
    assert [timeless(record) for record in load_run(path).records] == uninterrupted(config)


def test_a_run_of_an_earlier_revision_goes_on_as_before(tiny_cache: Path, tmp_path: Path) -> None:
    path = begun(tiny.config(rounds=2), tmp_path / "run")
    task = read_json(path / "task.json")
    del task["world"]
    write_json(path / "task.json", task)
    assert main(["resume", str(path)]) == 0
    run = load_run(path)
    assert (run.state, run.changes) == ("finished", [])


def test_a_run_without_a_finished_round_rests_on_nothing_yet(photos: Path, tmp_path: Path) -> None:
    path = begun(config_of(photos), tmp_path / "run")
    for name in ("state.safetensors", "rounds.jsonl"):
        (path / name).unlink()
    another_class(photos)
    assert main(["resume", str(path)]) == 0
    assert load_run(path).task["classes"] == ["birds", "cats", "dogs"]


def test_a_run_that_changed_is_left_out_of_a_study(tiny_cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    fields = "\n".join(f"{name} = {json.dumps(value)}" for name, value in tiny.config(rounds=1).model_dump().items()
                       if name != "seed")  # fmt: skip
    file.write_text(f'title = "t"\nquestion = "q"\nseeds = [0]\n[base]\n{fields}\n[arms.a]\nkappa = 0.5\n')
    experiment = read_experiment(file)
    (trial,) = experiment.trials
    path = begun(trial.config, tmp_path / "sweeps" / trial.folder)
    assert gather([experiment], tmp_path / "sweeps", tmp_path / "tables").missing == {}
    task = read_json(path / "task.json")
    write_json(path / "task.json", {**task, "changes": ["after round 0: the data have changed"]})
    (why,) = gather([experiment], tmp_path / "sweeps", tmp_path / "tables").missing.values()
    assert why == "left out, since it changed midway: after round 0: the data have changed"


SMALL = ImageDataset(
    "small", np.zeros((4, 8, 8), np.uint8), np.array([0, 1, 0, 1]), np.ones((2, 8, 8), np.uint8), np.array([0, 1]),
    ("no", "yes"),
)  # fmt: skip


def test_a_world_is_plain_json_and_tells_splits_apart() -> None:
    shards = [np.array([0, 1]), np.array([2, 3])]
    before = json.loads(json.dumps(world_of(SMALL, shards, "w")))
    assert differences(before, world_of(SMALL, shards, "w")) == ([], [])
    for other in ([np.array([0, 1, 2]), np.array([3])], shards[::-1], [np.array([0, 2]), np.array([1, 3])]):
        assert differences(before, world_of(SMALL, other, "w")) == (
            ["the split has changed: the clients hold other samples than when it began"], [],
        )  # fmt: skip
