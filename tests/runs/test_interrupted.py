"""Whatever may happen to a run: it ends with a reason, loses nothing, and goes on to the same results."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deltamask import load_run
from deltamask.cli import main
from deltamask.runs import StoreError
from deltamask.runs.folder import RunFolder, write_json
from deltamask.runs.runner import Recorder
from deltamask.runs.status import read_json
from deltamask.task.task import load_task
from tests.support import tiny
from tests.support.commands import PATIENCE, quiet, records, run_and_kill, started, uninterrupted, wait_until
from tests.support.tiny import flags, timeless


def test_killed_during_a_round_it_goes_on_as_if_nothing_had_happened(tiny_cache: Path, tmp_path: Path) -> None:
    config = tiny.config(rounds=16, local_epochs=8, rho=0.5, aggregation="unbiased")
    path = tmp_path / "run"
    run_and_kill(config, path)
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


def test_killed_before_it_said_that_it_had_finished(tiny_cache: Path, tmp_path: Path) -> None:
    config = tiny.config(rounds=1)
    folder = RunFolder.create(tmp_path / "run", config)
    quiet(config, folder)
    before = records(folder.path)
    status = read_json(folder.path / "status.json")
    write_json(folder.path / "status.json", {**status, "state": "running", "pid": 2**22 + 1})
    assert load_run(folder.path).state == "killed"
    assert main(["resume", str(folder.path)]) == 0
    assert load_run(folder.path).state == "finished"
    assert load_run(folder.path).status["round"] == 1
    assert records(folder.path) == before


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
    small = {"train_samples": 160, "test_samples": 40, "probe_epochs": 5}
    config = tiny.config(rounds=46, clients=8, keep_payloads="none", **small)
    load_task(config)  # its feature files are larger than the limit, which the checkpoint, of 73,000 bytes, is not
    path = tmp_path / "run"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (80_000, 80_000))

    with started(["run", *flags(config), "--out", str(path)], preexec_fn=limit) as process:
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "rounds.jsonl" in errors
    assert "Traceback" not in errors
    run = load_run(path)
    assert run.state == "failed"
    assert "OSError" in run.status["message"]
    assert 5 < len(run.records) < 47
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
    assert not (tmp_path / "run").exists()  # it never began


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
    with pytest.raises(StoreError, match="method was deltamask and is linear-probe"):
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


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda lines: lines[:2], "holds 2 records, but its checkpoint is that of round 3"),
        (lambda lines: [], "holds 0 records, but its checkpoint is that of round 3"),
        (lambda lines: [lines[0], lines[3]], "line 2: it is of round 3"),
        (lambda lines: [lines[0], b"\x00" * 40 + b"\n", *lines[2:]], "line 2"),
        (lambda lines: [lines[0], lines[1].replace(b'"bpp_up"', b'"bpp_us"'), *lines[2:]], "line 2: bpp_up"),
    ],
)
def test_records_that_are_gone_do_not_end_as_finished(
    tiny_cache: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[list[bytes]], list[bytes]],
    why: str,
) -> None:
    config = tiny.config(rounds=5)
    folder = RunFolder.create(tmp_path / "run", config)
    quiet(config.replace(rounds=3), folder)
    path = folder.path / "rounds.jsonl"
    damaged = b"".join(damage(path.read_bytes().splitlines(keepends=True)))
    path.write_bytes(damaged)
    assert main(["resume", str(folder.path)]) == 1
    assert why in capsys.readouterr().err
    assert path.read_bytes() == damaged  # and nothing is made worse
    with pytest.raises(StoreError, match=re.escape(why)):
        quiet(config, folder)
    assert read_json(folder.path / "status.json")["state"] == "failed"


def test_an_edited_config_or_a_foreign_checkpoint_is_named(
    tiny_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny.config(rounds=5)
    folder = RunFolder.create(tmp_path / "run", config)
    quiet(config.replace(rounds=2), folder)
    stored = read_json(folder.path / "config.json")
    write_json(folder.path / "config.json", {**stored, "config": {**stored["config"], "lr": 0.25}})
    assert main(["resume", str(folder.path)]) == 1
    assert "was made with another config (lr was 0.1 and is 0.25)" in capsys.readouterr().err
    write_json(folder.path / "config.json", stored)

    other = RunFolder.create(tmp_path / "other", config.replace(seed=1))
    quiet(config.replace(rounds=2, seed=1), other)
    shutil.copy(other.path / "state.safetensors", folder.path / "state.safetensors")
    assert main(["resume", str(folder.path)]) == 1
    assert "was made with another config (seed was 1 and is 0)" in capsys.readouterr().err


def test_what_killed_processes_left_behind_is_swept(tiny_cache: Path, tmp_path: Path) -> None:
    config = tiny.config(rounds=1)
    folder = RunFolder.create(tmp_path / "run", config)
    (folder.path / "payloads").mkdir()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = [
        f".state.safetensors.{gone.pid}-ab_c1.tmp", ".rounds.jsonl.bk9h8ldj.tmp",
        f"payloads/.r0001-c00.png.{gone.pid}-x.tmp",
    ]  # fmt: skip
    living = folder.path / f".control.{os.getpid()}-abc.tmp"  # the page is writing it
    for path in (*(folder.path / name for name in left), living):
        path.write_text("half")
    quiet(config, folder)
    assert [path.name for path in folder.path.rglob("*.tmp")] == [living.name]
