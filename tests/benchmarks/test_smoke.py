"""Every script under benchmarks/ and scripts/ runs, on little but real input. None writes into the repository."""

from __future__ import annotations

import gzip
import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., str]
# What no test here runs: helpers of the scripts beside them, scripts that other tests call, and one that needs ONNX
# Runtime and the real weights.
ELSEWHERE = {
    "benchmarks/audited_head.py", "benchmarks/flip_files.py", "benchmarks/flower_rounds.py",
    "benchmarks/focus_features.py", "benchmarks/round_timing.py", "benchmarks/round_variants.py",
    "benchmarks/scale_tables.py", "benchmarks/timing.py", "benchmarks/visitor.py",
    "scripts/house.py", "scripts/install.py", "scripts/lock.py", "scripts/save_notebooks.py", "scripts/ship_runs.py",
}  # fmt: skip


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tiny_cache: Path) -> Run:
    """run(SCRIPT, *WORDS): what `python SCRIPT WORDS` prints, run in this process, where torch is loaded already."""

    def run(script: str, *words: object) -> str:
        monkeypatch.setattr(sys, "argv", [script, *map(str, words)])
        capfd.readouterr()
        runpy.run_path(str(ROOT / script), run_name="__main__")
        return capfd.readouterr().out

    return run


@pytest.fixture
def run_apart(tiny_cache: Path) -> Run:
    """The same in a process of its own: Playwright drives one browser in a process, and the tests have theirs."""

    def run(script: str, *words: object) -> str:
        command = [sys.executable, str(ROOT / script), *map(str, words)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment)
        return done.stdout

    return run


def test_every_script_is_run_here() -> None:
    text = Path(__file__).read_text()
    scripts = {
        path.relative_to(ROOT).as_posix() for name in ("benchmarks", "scripts") for path in ROOT.glob(f"{name}/*.py")
    }
    missing = {script for script in scripts - ELSEWHERE if f'"{script}"' not in text}
    assert missing == set()


def test_rounds(run: Run) -> None:
    report = json.loads(run("benchmarks/rounds.py", "--quick", "--json"))
    assert list(report["variants"]) == ["ours", "plain", "uncached"]
    accuracies = {name: row["accuracy"] for name, row in report["variants"].items()}
    assert accuracies["uncached"] == accuracies["ours"] > 0.1
    assert report["step_ms"]["learn"] > 0


def test_codec_scale(run: Run) -> None:
    run("benchmarks/codec_scale.py", "--quick")


def test_start_up(run: Run) -> None:
    report = json.loads(run("benchmarks/start_up.py", "--quick"))
    assert list(report) == ["import torch", "deltamask --help"]


def test_sweep(run: Run) -> None:
    report = json.loads(run("benchmarks/sweep.py", "--quick"))
    assert [each["runs_an_hour"] > 0 for each in report["ways"].values()] == [True, True]


def test_crossover(run: Run) -> None:
    assert "DeComFL, 5 directions, already on the largest tail" in run("benchmarks/crossover.py", "--quick")


def test_ten_billion(run: Run) -> None:
    report = json.loads(run("benchmarks/ten_billion.py", "--quick"))
    assert 2500 < report["flips"] < 3500
    assert [row["false_flips"] > 0 for row in report["rows"]] == [False, True]


def test_private_step(run: Run) -> None:
    *_, plain, layers, held = run("benchmarks/private_step.py", "--quick").splitlines()
    assert plain.startswith("| plain |")
    assert layers.startswith("| clipped, layer by layer |")
    assert held.endswith(" |")


def test_mask_sizes(run: Run) -> None:
    *_, line = run("benchmarks/mask_sizes.py", "--quick").splitlines()
    rounds, blind, given, bound, ratio = (cell.strip() for cell in line.strip("|").split("|"))
    assert rounds == "1 … 2"
    assert float(bound) < 1.02 * float(given) < float(blind)
    assert float(ratio) > 1


def test_leaks_are_measured(run: Run) -> None:
    told = run("benchmarks/leaks.py", "--quick")
    assert "seed 0, α 0.1, finetune" in told
    assert "sent,alpha,seed,client,tv" in told


def test_codec_sizes_and_what_reads_its_flips(run: Run, tmp_path: Path) -> None:
    table = run("benchmarks/codec_sizes.py", "--quick", "--dump", tmp_path)
    assert "| `gap` |" in table
    assert len(list(tmp_path.glob("*.npz"))) == 5  # one for each client
    shape = [int(word) for word in run("benchmarks/fit_gap.py", tmp_path).split(", ")]
    assert len(shape) == 64
    assert shape == sorted(shape, reverse=True)
    ideas = run("benchmarks/gap_ideas.py", tmp_path)
    bits = [float(line.split("|")[2]) for line in ideas.splitlines() if line.startswith("| model")]
    assert len(bits) == 5
    assert all(bit > 0 for bit in bits)


def test_flip_files_want_a_folder_that_holds_some(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no \.npz file"):
        run("benchmarks/fit_gap.py", tmp_path)


def test_memory(run: Run) -> None:
    line = json.loads(run("benchmarks/memory.py", "--case", "efficientnet_lite0", 1, 8))
    assert line["d"] > 10**6
    assert line["peak_gb"] >= line["peak_gb_after_loading"] > 0


def test_transformer(run: Run) -> None:
    line = json.loads(run("benchmarks/transformer.py", "--case", 1, "bfloat16", "--quick"))
    assert line["d"] == 12 * 384**2
    assert 0 < line["bound"] < 20 * line["seconds"]


def test_updates(run: Run) -> None:
    assert "| `eden1` |" in run("benchmarks/updates.py", "--quick")


@pytest.mark.parametrize("way", ["up", "down"])
def test_soak(run: Run, way: str) -> None:
    report = json.loads(run("benchmarks/soak.py", "--way", way, "--count", "300", "--block", "0"))
    assert sum(report["seen"].values()) == 300
    assert report["failures"] == []


def test_a_soak_that_is_started_again_goes_on(run_apart: Run, tmp_path: Path) -> None:
    words = ("benchmarks/soak.py", "--way", "down", "--count", 60, "--log", tmp_path / "log")
    first = json.loads(run_apart(*words))
    assert (first["count"], first["failures"]) == (60, [])
    (line,) = (tmp_path / "log").read_text().splitlines()
    (tmp_path / "log").write_text(line.replace('"count": 60, "seen": {', '"count": 60, "seen": {"kept": 7, '))
    assert json.loads(run_apart(*words))["kept"] == 7  # its only block is not run again


def test_the_tables_of_the_scale_document_are_those_of_the_stored_measurements(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("flwr", reason="`make test-federation` installs it")
    document = tmp_path / "scale.md"
    shutil.copy(ROOT / "docs" / "scale.md", document)
    run("benchmarks/federation.py", "--write", "--document", document)
    assert document.read_text() == (ROOT / "docs" / "scale.md").read_text()


def test_make_walk_example(run: Run, tmp_path: Path) -> None:
    run("scripts/make_walk_example.py", "--quick", "--out", tmp_path / "example.json")
    made, kept = (json.loads(path.read_text()) for path in (tmp_path / "example.json", ROOT / "data/walk/example.json"))
    assert made.keys() == kept.keys()
    assert {name: np.shape(made[name]) for name in ("theta_global", "theta_clients")} == {
        name: np.shape(kept[name]) for name in ("theta_global", "theta_clients")
    }


def test_make_fashion_mnist_mini(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a full set that is the small one: it comes out as it went in."""
    small, full = ROOT / "data" / "fashion-mnist-mini", tmp_path / "FashionMNIST" / "raw"
    full.mkdir(parents=True)
    for packed in small.glob("*.gz"):
        (full / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    monkeypatch.setenv("DELTAMASK_DATA", str(tmp_path))
    run("scripts/make_fashion_mnist_mini.py")
    for made in (tmp_path / "fashion-mnist-mini").glob("*.gz"):
        assert made.read_bytes() == (small / made.name).read_bytes()


@pytest.mark.browser
def test_dashboard(run_apart: Run) -> None:
    report = json.loads(run_apart("benchmarks/dashboard.py", "--quick"))
    assert report["first_paint_s"] > 0
    assert set(report["controls_ms"]) == {"κ", "ρ", "α, with the label split", "round, every panel", "bits up or down"}


def test_kills() -> None:
    """In a process of its own: a run that was killed ends as one that was not."""
    command = [sys.executable, "benchmarks/kills.py", "--runs", "3", "--first", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, check=True, cwd=ROOT, capture_output=True, text=True, timeout=500, env=environment
    )  # fmt: skip
    assert done.stdout.startswith("1 runs of ")
    assert done.stdout.endswith(": 1 the same\n")


@pytest.mark.browser
def test_wire_page(run_apart: Run) -> None:
    assert "the same payload again" in run_apart("benchmarks/wire_page.py", "--quick")


@pytest.mark.browser
def test_screenshots(run_apart: Run, tmp_path: Path) -> None:
    run_apart("scripts/screenshots.py", "--all", "--only", "learn", "--out", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "learn-dark-narrow.png", "learn-dark.png", "learn-light-narrow.png", "learn-light.png",
    ]  # fmt: skip


@pytest.mark.federation
@pytest.mark.parametrize(
    "words",
    [
        ("benchmarks/federation.py", "--quick"),
        ("benchmarks/rounds.py", "--quick", "--only", "flower"),
        ("scripts/federation.py", "--rounds", "1", "--clients", "2"),
    ],
    ids=" ".join,
)
def test_over_flower(words: tuple[str, ...], tmp_path: Path) -> None:
    """In processes of their own: Flower changes the environment, and Ray starts a server."""
    subprocess.run([sys.executable, str(ROOT / words[0]), *words[1:]], check=True, cwd=tmp_path, timeout=500)
