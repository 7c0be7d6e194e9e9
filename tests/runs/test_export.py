"""A run as one file, and as the command that makes it again."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tyro

from deltamask.cli.running import run_command
from deltamask.config import RunConfig
from deltamask.config.presets import PRESETS
from deltamask.runs import StoreError, export
from deltamask.runs.folder import RunFolder
from deltamask.runs.reader import Run, load_run
from tests.support.records import TASK, finished_run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    path = finished_run(tmp_path / "run", rounds=12, kappa=0.5).path
    folder = RunFolder(path)
    folder.write_payload(1, 0, ".png", b"picture")
    folder.save_state(12, {"theta": np.zeros(10)}, load_run(path).config)
    folder.ask("run")
    (path / "run.lock").touch()
    (path / "mark.json").write_text('{"star": true, "note": "for myself"}')
    return load_run(path)


def test_export_zip_holds_what_reading_needs(run: Run, tmp_path: Path) -> None:
    (run.path / "payloads" / ".r0002-c00.png.x.tmp").write_text("torn")
    export.write(run, tmp_path / "run.zip")
    with zipfile.ZipFile(tmp_path / "run.zip") as archive:
        names = ["config.json", "payloads/r0001-c00.png", "rounds.jsonl", "status.json", "task.json"]
        assert sorted(archive.namelist()) == [f"run/{name}" for name in names]
        archive.extractall(tmp_path / "elsewhere")
    opened = load_run(tmp_path / "elsewhere" / "run")
    assert opened.records == run.records
    assert opened.config == run.config
    assert opened.state == "finished"
    assert opened.payloads(1)[0].read() == b"picture"


def test_export_follows_no_links(run: Run, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    (secret / "inside").mkdir(parents=True)
    (secret / "inside" / "key").write_text("not the run's")
    (run.path / "payloads" / "r0003-c00.bin").symlink_to(secret / "inside" / "key")
    (run.path / "more").symlink_to(secret)
    os.mkfifo(run.path / "payloads" / "r0004-c00.bin")
    export.write(run, tmp_path / "run.zip")
    with zipfile.ZipFile(tmp_path / "run.zip") as archive:
        assert {name.split("/", 1)[1] for name in archive.namelist()} == {
            "config.json", "payloads/r0001-c00.png", "rounds.jsonl", "status.json", "task.json",
        }  # fmt: skip


def test_no_cell_of_a_csv_is_a_formula() -> None:
    nasty = ["=1+1", "+cmd|' /C calc'!A0", "-2", "@SUM(A1)", "\t=1", "\r=1", "plain", None]
    table = pd.DataFrame({"text": nasty, "=number": [-1.5] * len(nasty)})
    header, *rows = list(csv.reader(io.StringIO(export.csv_text(table), newline="")))
    assert header == ["text", "'=number"]
    assert [text for text, _ in rows] == [
        *(f"'{text}" for text in nasty[:4]), "' =1", "' =1", "plain", "",
    ]  # fmt: skip
    assert {number for _, number in rows} == {"-1.5"}


def test_export_csv_is_one_row_a_round(run: Run, tmp_path: Path) -> None:
    export.write(run, tmp_path / "run.csv")
    with open(tmp_path / "run.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["round"]) for row in rows] == list(range(13))
    assert float(rows[12]["bpp_up_total"]) == 13 * 0.25
    assert not {"seconds", "clients", "kept_by_layer", "theta_histogram"} & rows[0].keys()


def test_export_json_is_everything_but_the_payloads(run: Run, tmp_path: Path) -> None:
    export.write(run, tmp_path / "run.json")
    plain = json.loads((tmp_path / "run.json").read_text())
    assert plain["rounds"] == run.records
    assert RunConfig(**plain["config"]) == run.config
    assert plain["task"] == TASK
    assert plain["command"] == "deltamask run --rounds 12 --kappa 0.5"
    assert plain["summary"] == run.summary()
    assert plain["worst_client_covers"] == "all clients"


def test_export_to_another_kind_of_file_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"'run\.xlsx': use a name that ends in \.zip, \.csv, \.json or \.ipynb"):
        export.write(run, tmp_path / "run.xlsx")
    assert not (tmp_path / "run.xlsx").exists()


@pytest.mark.parametrize(
    "config",
    [*PRESETS.values(), RunConfig(dataset="a b; 'c'", rho=1e-7, lr=0.30000000000000004, seed=2**32 - 1, clients=750)],
    ids=[*PRESETS, "odd values"],
)
def test_command_line_makes_the_same_config_again(config: RunConfig) -> None:
    words = shlex.split(export.command_line(config))
    assert words[:2] == ["deltamask", "run"]
    run = run_command(RunConfig())
    fields = tyro.cli(run.__annotations__["config"], args=words[2:])
    assert RunConfig(**vars(fields)) == config
