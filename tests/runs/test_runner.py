"""`deltamask run` as a user starts it: a process of its own, its folder, and everything that may happen to it."""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deltamask import codecs, load_run, simulate
from deltamask.cli import main
from deltamask.codecs import CodecContext
from deltamask.config import RunConfig
from deltamask.masking.masks import ONE, THETA_MAX, THETA_MIN
from deltamask.masking.noise import PublicNoise
from deltamask.runs import StoreError
from deltamask.runs.folder import RunFolder
from deltamask.runs.reader import Run
from deltamask.runs.runner import Recorder, execute
from deltamask.runs.status import read_json
from deltamask.task.task import load_task
from tests.support import tiny
from tests.support.tiny import flags, timeless

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-c", "import tests.support.tiny, deltamask.cli as c; raise SystemExit(c.main())"]
PATIENCE = 90.0  # seconds, on a busy machine


def start(arguments: list[str], **options: Any) -> subprocess.Popen[str]:
    """`deltamask …` in a process of its own that knows the tiny backbone."""
    return subprocess.Popen(
        [*COMMAND, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


@contextmanager
def started(arguments: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """The same; it never outlives the test."""
    process = start(arguments, **options)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.005)


def records(path: Path) -> list[dict[str, Any]]:
    """Whole lines of rounds.jsonl, read without our reader."""
    try:
        text = (path / "rounds.jsonl").read_text()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def uninterrupted(config: RunConfig) -> list[dict[str, Any]]:
    """What an uninterrupted run of this config records, seconds left out."""
    return [json.loads(json.dumps(timeless(record))) for record in simulate(config)]


def quiet(config: RunConfig, folder: RunFolder) -> str:
    return execute(folder, config, on_record=lambda record: None, show=lambda what, done, total: None)


# A whole run


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
    stored = RunFolder(run.path).load_state()
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


# What may happen to it


def test_killed_during_a_round_it_goes_on_as_if_nothing_had_happened(tiny_cache: Path, tmp_path: Path) -> None:
    config = tiny.config(rounds=16, local_epochs=8, rho=0.5, aggregation="unbiased")
    path = tmp_path / "run"
    with started(["run", *flags(config), "--out", str(path)]) as process:
        wait_until(lambda: len(records(path)) >= 2, process)
        time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(PATIENCE) == -signal.SIGKILL
    before = load_run(path)
    assert before.state == "killed"
    assert 2 <= len(before.records) < 17
    assert main(["resume", str(path)]) == 0
    after = load_run(path)
    assert after.state == "finished"
    assert (
        after.records[: len(before.records) - 1] == before.records[:-1]
    )  # the last may be made again, to the same end
    assert [timeless(record) for record in after.records] == uninterrupted(config)
    for record in after.records:
        sizes = [payload.size for payload in after.payloads(record["round"])]
        assert sum(sizes) == record["uplink_bytes"]


def test_killed_between_record_and_checkpoint_no_round_is_there_twice(tiny_cache: Path, tmp_path: Path) -> None:
    config = tiny.config(rounds=3)
    folder = RunFolder.create(tmp_path / "run", config)
    quiet(config.replace(rounds=1), folder)
    state = tmp_path / "run" / "state.safetensors"
    older = state.read_bytes()
    quiet(config.replace(rounds=2), folder)
    state.write_bytes(older)  # as if the checkpoint of round 2 had not been written any more
    assert main(["resume", str(tmp_path / "run")]) == 0
    assert list(map(timeless, records(tmp_path / "run"))) == uninterrupted(config)


def test_pause_step_stop_resume_and_nobody_else_in_the_folder(tiny_cache: Path, tmp_path: Path) -> None:
    config = tiny.config(rounds=24, local_epochs=4)
    path = tmp_path / "run"
    path.mkdir()
    folder = RunFolder(path)
    folder.ask("pause")

    def paused_after(count: int) -> bool:
        if not (path / "config.json").exists() or folder.control() != "pause":
            return False
        return load_run(path).state == "paused" and len(records(path)) == count

    with started(["run", *flags(config), "--out", str(path)]) as process:
        wait_until(lambda: paused_after(0), process)

        with started(["resume", str(path)]) as second:
            _, errors = second.communicate(timeout=PATIENCE)
        assert second.returncode == 1
        assert f"another process is running {path}" in errors
        assert load_run(path).state == "paused"
        assert load_run(path).status["pid"] == process.pid

        for count in (1, 2):
            folder.ask("step")
            wait_until(lambda count=count: paused_after(count), process)  # type: ignore[misc]
        time.sleep(0.3)
        assert paused_after(2)

        folder.ask("run")
        wait_until(lambda: len(records(path)) >= 5, process)
        folder.ask("stop")
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, errors
        assert f"deltamask resume {path}" in errors

    stopped = load_run(path)
    assert stopped.state == "stopped"
    assert stopped.status["message"] == "stopped by the user"
    assert 5 <= len(stopped.records) < 25
    assert main(["resume", str(path)]) == 0
    resumed = load_run(path)
    assert resumed.state == "finished"
    assert resumed.records[: len(stopped.records)] == stopped.records
    assert [timeless(record) for record in resumed.records] == uninterrupted(config)


def test_interrupted_from_the_keyboard_it_can_be_resumed(tiny_cache: Path, tmp_path: Path) -> None:
    config = tiny.config(rounds=200, local_epochs=8)
    path = tmp_path / "run"

    def listen() -> None:  # a shell's background job ignores the key, and its children inherit that
        signal.signal(signal.SIGINT, signal.default_int_handler)

    with started(["run", *flags(config), "--out", str(path)], preexec_fn=listen) as process:
        wait_until(lambda: len(records(path)) >= 1, process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert f"deltamask resume {path}" in errors
    assert "Traceback" not in errors
    assert load_run(path).state == "stopped"
    assert load_run(path).status["message"] == "interrupted from the keyboard"


def test_a_full_disk_ends_the_run_and_room_lets_it_go_on(tiny_cache: Path, tmp_path: Path) -> None:
    """A real limit on the size of files, which rounds.jsonl reaches in the middle of the run."""
    config = tiny.config(rounds=60, clients=8, keep_payloads="none")
    load_task(config)  # its feature files are larger than the limit
    path = tmp_path / "run"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (110_000, 110_000))

    with started(["run", *flags(config), "--out", str(path)], preexec_fn=limit) as process:
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "rounds.jsonl" in errors
    assert "Traceback" not in errors
    run = load_run(path)
    assert run.state == "failed"
    assert "OSError" in run.status["message"]
    assert 5 < len(run.records) < 61
    assert (path / "rounds.jsonl").read_bytes().endswith(b"\n")
    assert run.records == records(path)
    assert main(["resume", str(path)]) == 0
    assert [timeless(record) for record in load_run(path).records] == uninterrupted(config)


def test_a_cache_that_cannot_be_written_is_an_error_with_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DELTAMASK_CACHE", str(tmp_path / "file"))
    assert main(["run", *flags(tiny.config()), "--out", str(tmp_path / "run")]) == 1
    assert str(tmp_path / "file") in capsys.readouterr().err
    run = load_run(tmp_path / "run")
    assert run.state == "failed"
    assert str(tmp_path / "file") in run.status["message"]
    assert run.records == []


def test_a_damaged_checkpoint_stops_the_run_and_deleting_it_starts_anew(
    tiny_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny.config()
    quiet(config, RunFolder.create(tmp_path / "run", config))
    state = tmp_path / "run" / "state.safetensors"
    before = records(tmp_path / "run")
    state.write_bytes(state.read_bytes()[:-10])
    assert main(["resume", str(tmp_path / "run")]) == 1
    assert f"{state} is damaged" in capsys.readouterr().err
    assert records(tmp_path / "run") == before  # nothing was lost over it
    state.unlink()
    (tmp_path / "run" / "rounds.jsonl").unlink()
    assert main(["resume", str(tmp_path / "run")]) == 0
    assert list(map(timeless, records(tmp_path / "run"))) == list(map(timeless, before))


def test_another_method_s_checkpoint_is_refused(tiny_cache: Path, tmp_path: Path) -> None:
    config = tiny.config(rounds=1)
    folder = RunFolder.create(tmp_path / "run", config)
    quiet(config, folder)
    with pytest.raises(StoreError, match="the checkpoint is not one of method linear-probe"):
        quiet(config.replace(method="linear-probe"), folder)


def test_a_folder_can_be_copied_and_resumed_elsewhere(tiny_cache: Path, tmp_path: Path) -> None:
    config = tiny.config(rounds=4)
    folder = RunFolder.create(tmp_path / "here", config)
    quiet(config.replace(rounds=2), folder)
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    assert main(["resume", str(tmp_path / "there")]) == 0
    assert list(map(timeless, records(tmp_path / "there"))) == uninterrupted(config)
    assert len(records(tmp_path / "here")) == 3


def test_a_run_without_its_checkpoint_is_never_overwritten(tiny_cache: Path, tmp_path: Path) -> None:
    config = tiny.config(rounds=3)
    path = tmp_path / "run"
    assert main(["run", *flags(config), "--out", str(path)]) == 0
    (path / "state.safetensors").unlink()  # as in an exported run, or a recorded one in a fresh clone
    whole = {name: (path / name).read_bytes() for name in ("rounds.jsonl", "status.json")}
    assert main(["resume", str(path)]) == 0  # finished: nothing to do
    assert {name: (path / name).read_bytes() for name in whole} == whole

    lines = whole["rounds.jsonl"].splitlines(keepends=True)
    (path / "rounds.jsonl").write_bytes(b"".join(lines[:3]))
    assert main(["resume", str(path)]) == 1  # nothing to go on from
    assert (path / "rounds.jsonl").read_bytes() == b"".join(lines[:3])
    assert "no state.safetensors to go on from" in load_run(path).status["message"]


def test_what_begins_is_told_at_once(tmp_path: Path) -> None:
    """The next sign of life may be a download away."""
    folder = RunFolder.create(tmp_path / "run", tiny.config())
    recorder = Recorder(folder, tiny.config(), lambda what, done, total: None)
    recorder.status("starting")
    for what in ("weights", "features"):
        recorder.progress(what, 0, 10)
        told = read_json(folder.path / "status.json")
        assert told is not None
        assert (told["state"], told["progress"]["what"]) == ("running", what)
