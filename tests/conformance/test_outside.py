"""A package from outside registers by entry points: it runs, is offered, drawn and checked like what ships with us."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deltamask.codecs.wire.message import HEADER_BYTES
from tests.support.outside import environment, write_package


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(tmp_path_factory.mktemp("outside"))


def ask(package: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command in a process that has the package on its path; `tiny` is registered too."""
    code = "import tests.support.tiny, sys, deltamask.cli as c; raise SystemExit(c.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment(package))


def in_package(package: Path, code: str) -> str:
    """What a piece of code prints in such a process."""
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment(package))
    return done.stdout.strip()


def test_all_three_run_together_for_two_rounds(package: Path, tiny_cache: Path, tmp_path: Path) -> None:
    small = ["--backbone", "tiny", "--image-size", "32", "--clients", "3", "--min-client-samples", "4", "--rounds", "2"]
    sizes = ["--train-samples", "120", "--test-samples", "40", "--batch-size", "16", "--json"]
    done = ask(package, "run", "--method", "toy", "--dataset", "toy", *small, *sizes, "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["round"] for record in records] == [0, 1, 2]
    assert all(record["kept"] == pytest.approx(record["flips"] / 2, abs=1) for record in records[1:])
    done = ask(package, "run", "--codec", "toy", "--dataset", "toy", *small, *sizes, "--out", str(tmp_path / "codec"))
    assert done.returncode == 0, done.stderr
    for record in map(json.loads, done.stdout.splitlines()[1:]):
        assert [client["uplink_bytes"] for client in record["clients"]] == [
            HEADER_BYTES + 4 * client["kept"] for client in record["clients"]
        ]


@pytest.fixture(scope="module")
def checked(package: Path) -> list[dict[str, Any]]:
    """What `deltamask check toy` finds."""
    outcomes: list[dict[str, Any]] = json.loads(ask(package, "check", "toy", "--json").stdout)
    return outcomes


@pytest.mark.parametrize("kind", ["method", "codec", "dataset"])
def test_it_obeys_the_laws(checked: list[dict[str, Any]], kind: str) -> None:
    outcomes = [outcome for outcome in checked if outcome["kind"] == kind]
    assert len(outcomes) >= 3
    assert [outcome for outcome in outcomes if outcome["fault"]] == []


def test_it_is_offered_on_the_command_line_and_in_the_form(package: Path) -> None:
    help_text = ask(package, "run", "--help").stdout
    assert help_text.count("toy") >= 3  # method, codec, and who reads which field
    code = "from deltamask.config import choices; print(*(choices(n)[-1] for n in ('method', 'codec', 'dataset')))"
    assert in_package(package, code) == "toy toy toy"


def test_it_has_a_look_and_a_name_in_charts_without_torch(package: Path) -> None:
    code = (
        "import sys; from deltamask.config import RunConfig; from deltamask.plots.palette import style;"
        "from deltamask.studies.labels import config_label; config = RunConfig(method='toy');"
        "print(config_label(config), style(config)[0], 'torch' in sys.modules)"
    )
    name, color, torch = in_package(package, code).split()
    assert name == "Toy"
    assert color.startswith("#")
    assert torch == "False"


def test_an_entry_point_that_cannot_be_loaded_is_named_and_the_others_are_there(package: Path) -> None:
    code = "from deltamask import backbones as b; print(b.names()[0], *b.backbones.faults.values())"
    said = in_package(package, code)
    assert said.startswith("efficientnet_lite0")
    assert "toy.missing: ModuleNotFoundError" in said
    done = ask(package, "run", "--backbone", "broken")
    assert done.returncode == 2
    assert "unknown backbone 'broken' (toy.missing: ModuleNotFoundError" in done.stderr
