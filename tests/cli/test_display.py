"""Wherever it prints to, a run ends as it does elsewhere, and what is shown is what is there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deltamask import load_run
from deltamask.cli import main
from deltamask.cli.output import Count
from deltamask.runs.folder import RunFolder
from tests.support import tiny
from tests.support.commands import COMMAND, PATIENCE, ROOT, quiet, uninterrupted
from tests.support.tiny import flags, timeless

CONFIG = tiny.config(rounds=2, clients=2)


@pytest.fixture(scope="module")
def expected(tiny_cache: Path) -> list[object]:
    return list(uninterrupted(CONFIG))


def command(path: Path, *options: str) -> list[str]:
    return [*COMMAND, "run", *flags(CONFIG), "--out", str(path), *options]


def assert_whole(path: Path, expected: list[object]) -> None:
    run = load_run(path)
    assert run.state == "finished"
    assert [timeless(record) for record in run.records] == expected


@pytest.mark.parametrize("lines", [0, 1])
def test_a_closed_pipe_ends_no_run(tmp_path: Path, expected: list[object], lines: int) -> None:
    """`deltamask run --json 2>&1 | head -1`, and a reader that never reads."""
    with subprocess.Popen(
        command(tmp_path / "run", "--json"), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        for _ in range(lines):
            assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(PATIENCE) == 0
    assert_whole(tmp_path / "run", expected)


def test_a_console_of_plain_letters_ends_no_run(tmp_path: Path, expected: list[object]) -> None:
    path = tmp_path / "Füße-試"
    answer = subprocess.run(
        command(path), cwd=ROOT, capture_output=True, timeout=PATIENCE, env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert (answer.stdout + answer.stderr).isascii()
    assert_whole(path, expected)


def test_a_full_disk_behind_what_it_prints_ends_no_run(tmp_path: Path, expected: list[object]) -> None:
    with open("/dev/full", "w") as full:
        answer = subprocess.run(command(tmp_path / "run"), cwd=ROOT, stdout=full, stderr=full, timeout=PATIENCE)
    assert answer.returncode == 0  # people's lines are lost, and nothing else
    assert_whole(tmp_path / "run", expected)


def test_output_for_programs_that_is_not_whole_is_no_success() -> None:
    with open("/dev/full", "w") as full:
        answer = subprocess.run(
            [sys.executable, "-m", "deltamask.cli", "show", "fashion", "--json"], cwd=ROOT, stdout=full,
            stderr=subprocess.PIPE, text=True, timeout=PATIENCE,
        )  # fmt: skip
    assert answer.returncode == 1
    assert "is not whole: [Errno 28]" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert "Exception ignored" not in answer.stderr


@pytest.mark.parametrize("words", [["show", "fashion"], ["--help"]])
def test_a_closed_pipe_ends_a_list_without_a_word(words: list[str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "deltamask.cli", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(PATIENCE) == 0
    assert said == b""


@pytest.mark.parametrize(
    "environment", [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "cp1252"}, {"LC_ALL": "C"}]
)
def test_a_console_without_our_letters_shows_other_spellings(
    tiny_cache: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    path = tmp_path / "Füße-試"
    quiet(CONFIG, RunFolder.create(path, CONFIG))
    for words in (["show", str(path)], ["runs"], ["run", "--kappa", "7"]):
        answer = subprocess.run(
            [sys.executable, "-m", "deltamask.cli", *words], cwd=ROOT, capture_output=True, timeout=PATIENCE,
            env={**os.environ, **environment, "DELTAMASK_RUNS": str(tmp_path)},
        )  # fmt: skip
        printed = answer.stdout + answer.stderr
        assert b"Traceback" not in printed, printed
        assert answer.returncode == (2 if "7" in words else 0)
        if environment.get("PYTHONIOENCODING") == "ascii":
            assert printed.isascii()
            assert b"\\u25" not in printed  # frames are drawn with what there is
    assert b"0 < kappa \xe2\x89\xa4 1" in printed or b"0 < kappa <= 1" in printed


def test_brackets_and_colons_in_names_are_no_markup(
    tiny_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DELTAMASK_RUNS", str(tmp_path / "[bold]a[b]"))
    path = tmp_path / "[bold]a[b]" / ":smile:[red]"
    assert main(["run", *flags(CONFIG), "--out", str(path)]) == 0
    assert f"writing {path}\n" in capsys.readouterr().err
    assert main(["runs"]) == 0
    assert ":smile:[red]" in capsys.readouterr().out
    assert main(["show", str(path)]) == 0
    assert ":smile:[red]  finished" in capsys.readouterr().out
    assert main(["run", *flags(CONFIG), "--out", str(path)]) == 1
    assert f"{path} already holds a run" in capsys.readouterr().err


@pytest.mark.parametrize("columns", ["20", "80"])
def test_names_are_whole_however_narrow_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("DELTAMASK_RUNS", str(tmp_path))
    name = "deltamask-" + "x" * 150
    RunFolder.create(tmp_path / name, CONFIG)
    assert main(["runs"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if name in line]
    assert "starting" in line


@pytest.mark.parametrize(
    ("rounds", "words"),
    [(1, "1 round: accuracy 0."), (1, "(of that round)"), (2, "(mean of the last 2)"), (12, "(mean of the last 10)")],
)
def test_the_summary_says_over_how_many_rounds_it_is_a_mean(
    tiny_cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], rounds: int, words: str
) -> None:
    config = CONFIG.replace(rounds=rounds, keep_payloads="none", train_samples=60, test_samples=30)
    assert main(["run", *flags(config), "--out", str(tmp_path / "run")]) == 0
    assert words in capsys.readouterr().err


def test_a_bar_without_an_end_counts_nothing() -> None:
    from rich.progress import Progress

    progress = Progress()
    task = progress.add_task("starting", total=None)
    assert Count().render(progress.tasks[task]).plain == ""
    progress.update(task, total=7, completed=3)
    assert Count().render(progress.tasks[task]).plain == "3/7"


@pytest.mark.parametrize("after", [0.05, 0.6, 2.0])
def test_interrupted_while_it_loads_there_is_no_traceback(tmp_path: Path, tiny_cache: Path, after: float) -> None:
    """Wherever it is by then: imports of the command, of torch, the task, or the first round."""

    def listen() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    code = "from deltamask.cli import main; print('ready', flush=True); raise SystemExit(main())"
    words = ["run", "--preset", "quick", "--out", str(tmp_path / "run")]
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=listen,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(after)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, said
    assert "interrupted" in said
    assert "Traceback" not in said
    if (tmp_path / "run" / "status.json").exists():
        assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "stopped"
