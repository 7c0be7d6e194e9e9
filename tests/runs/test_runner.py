"""A whole run in a process of its own: its records, its payloads, its folder."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deltamask import codecs, load_run
from deltamask.cli import main
from deltamask.codecs import CodecContext
from deltamask.masking.masks import ONE, THETA_MAX, THETA_MIN
from deltamask.masking.noise import PublicNoise
from deltamask.runs.folder import RunFolder
from deltamask.runs.reader import Run
from deltamask.task.task import load_task
from tests.support import tiny
from tests.support.commands import PATIENCE, quiet, records, start, uninterrupted
from tests.support.tiny import flags, timeless


@pytest.fixture(scope="module")
def finished(tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, str]:
    """(a finished run of three rounds with all payloads kept, what it printed)"""
    path = tmp_path_factory.mktemp("runs") / "whole"
    config = tiny.config(rounds=3, lr=0.3)
    process = start(["run", *flags(config), "--out", str(path), "--json"])
    printed, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    run = load_run(path)
    assert run.config == config
    return run, printed


def test_the_command_records_what_the_package_simulates(finished: tuple[Run, str]) -> None:
    run, printed = finished
    assert [timeless(record) for record in run.records] == uninterrupted(run.config)
    assert [json.loads(line) for line in printed.splitlines()] == run.records == records(run.path)
    assert run.state == "finished"
    assert run.status["round"] == run.status["rounds"] == 3


def test_the_folder_tells_what_was_learnt_and_who_held_it(finished: tuple[Run, str]) -> None:
    run, _ = finished
    task = load_task(run.config)
    assert run.task["d"] == tiny.D == task.d
    assert run.task["label_counts"] == task.label_counts.tolist()
    assert [layer["stop"] for layer in run.task["layers"]] == list(task.tail.offsets[1:])
    assert run.task["classes"] == [str(digit) for digit in range(10)]
    assert run.provenance["deltamask"] == "0.1.0"


def test_payload_files_add_up_to_the_ledger_exactly(finished: tuple[Run, str]) -> None:
    run, _ = finished
    for record in run.records:
        payloads = run.payloads(record["round"])
        assert [payload.client for payload in payloads] == [0, 1, 2, 3]
        assert sum(payload.size for payload in payloads) == record["uplink_bytes"]
    up = sum(path.stat().st_size for path in (run.path / "payloads").glob("*-c*") if path.suffix != ".flips")
    assert up == run.summary()["uplink_bytes"]
    down = {record["round"]: record["broadcast_bytes"] for record in run.records[1:]}  # the probing round's is not kept
    assert {int(path.name[1:5]): path.stat().st_size for path in (run.path / "payloads").glob("*-down.bin")} == down


def test_payload_pictures_open_in_an_ordinary_viewer(finished: tuple[Run, str]) -> None:
    run, _ = finished
    for payload in run.payloads():
        assert payload.suffix == ".png"
        with Image.open(io.BytesIO(payload.read())) as picture:
            assert picture.format == "PNG"
            assert picture.mode == "L"
            picture.load()
            height, width = np.asarray(picture).shape
            assert abs(height - width) <= 1
            assert picture.tobytes().startswith(b"DM")  # the pixels are the message


def test_decoding_the_kept_pictures_gives_the_flips_that_the_server_applied(finished: tuple[Run, str]) -> None:
    """Replay from the folder alone: config, pictures and the public codecs give the checkpoint, bit for bit."""
    run, _ = finished
    d, config = run.task["d"], run.config
    layers = (*(layer["start"] for layer in run.task["layers"]), d)
    theta = np.full(d, round(config.theta_init * ONE), np.uint16)
    for record in run.records[1:]:
        ones = np.zeros(d)
        for payload, client in zip(run.payloads(record["round"]), record["clients"], strict=True):
            noise = PublicNoise(config.seed, payload.round, payload.client)
            context = CodecContext(payload.round, payload.client, theta, noise, layers)
            flips = codecs.codecs.get(config.codec).decode(payload.read(), context)
            assert len(flips) == client["kept"] + client["false_flips"]
            mask = noise.words(0, d) < theta
            mask[flips] = ~mask[flips]
            ones += mask
        theta = np.clip(np.rint(ONE * ones / config.clients), THETA_MIN, THETA_MAX).astype(np.uint16)
    stored = RunFolder(run.path).load_state(config)
    assert stored is not None
    assert stored[0] == 3
    np.testing.assert_array_equal(stored[1]["theta"], theta)
    assert len(np.unique(theta)) > 3


def test_resuming_a_finished_run_changes_nothing(finished: tuple[Run, str]) -> None:
    run, _ = finished
    before = (run.path / "rounds.jsonl").read_bytes()
    assert main(["resume", str(run.path)]) == 0
    assert (run.path / "rounds.jsonl").read_bytes() == before
    assert load_run(run.path).state == "finished"


@pytest.mark.parametrize(("keep", "kept"), [("none", []), ("few", [0, 1]), ("all", [0, 1, 2, 3])])
def test_payloads_are_kept_of_the_clients_asked_for(
    tiny_cache: Path, tmp_path: Path, keep: str, kept: list[int]
) -> None:
    config = tiny.config(rounds=1, keep_payloads=keep)
    assert quiet(config, RunFolder.create(tmp_path / "run", config)) == "finished"
    run = load_run(tmp_path / "run")
    for round in (0, 1):
        assert [payload.client for payload in run.payloads(round)] == kept


@pytest.mark.parametrize("method", ["fedpm", "linear-probe"])
def test_other_methods_keep_every_byte_as_well(tiny_cache: Path, tmp_path: Path, method: str) -> None:
    config = tiny.config(method=method)
    quiet(config, RunFolder.create(tmp_path / "run", config))
    run = load_run(tmp_path / "run")
    for record in run.records:
        sizes = [payload.size for payload in run.payloads(record["round"])]
        assert sum(sizes) == record["uplink_bytes"] > 0
