"""A run that an earlier revision began (14da6d6) opens, goes on, is exported and comes back.

`earlier_run` was killed after the third record, before its checkpoint: `deltamask run` of the tiny backbone with
rounds = 6, rho = 0.5, local_epochs = 2, dirichlet_alpha = 0.5. `earlier_run_whole.jsonl` is what the same revision
recorded of the same config without being killed.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from deltamask.cli import main
from deltamask.runs import export
from deltamask.runs.import_zip import unpack_run
from deltamask.runs.reader import list_runs, load_run
from tests.support.tiny import timeless

HERE = Path(__file__).parent


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    path = tmp_path / "runs" / "earlier"
    shutil.copytree(HERE / "earlier_run", path)
    return path


def whole() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (HERE / "earlier_run_whole.jsonl").read_text().splitlines()]


def test_it_opens(earlier: Path) -> None:
    run = load_run(earlier)
    assert [each.id for each in list_runs(earlier.parent)] == ["earlier"]
    assert run.state == "killed"
    assert run.provenance["git_revision"].startswith("14da6d6")
    stored = [json.loads(line) for line in (earlier / "rounds.jsonl").read_text().splitlines()]
    assert [timeless(record) for record in stored] == [timeless(record) for record in whole()[:3]]
    for read, plain in zip(run.records, stored, strict=True):
        assert {name: read[name] for name in plain} == plain
        assert {read[name] for name in read.keys() - plain.keys()} <= {None}  # what came later
    assert run.summary()["rounds"] == 2
    assert [(payload.round, payload.client) for payload in run.payloads()] == [
        (0, 1), (0, 3), (1, 0), (1, 1), (2, 0), (2, 1),
    ]  # fmt: skip


def test_it_goes_on(tiny_cache: Path, earlier: Path) -> None:
    """The last bits of training depend on the machine: rounds made here are only near those made there."""
    before = (earlier / "rounds.jsonl").read_bytes().splitlines()
    (earlier / ".state.safetensors.bk9h8ldj.tmp").write_bytes(b"of the process that was killed")
    assert main(["resume", str(earlier)]) == 0
    run = load_run(earlier)
    assert run.state == "finished"
    assert (earlier / "rounds.jsonl").read_bytes().splitlines()[:2] == before[:2]  # the checkpoint's, to the byte
    assert not list(earlier.rglob("*.tmp"))
    for ours, theirs in zip(run.records, whole(), strict=True):
        assert ours["accuracy"] == pytest.approx(theirs["accuracy"], abs=0.1)
        assert ours["uplink_bytes"] == pytest.approx(theirs["uplink_bytes"], rel=0.2)
        assert [client["client"] for client in ours["clients"]] == [client["client"] for client in theirs["clients"]]


def test_it_is_exported_and_comes_back(earlier: Path, tmp_path: Path) -> None:
    run = load_run(earlier)
    for ending in (".zip", ".csv", ".json"):
        export.write(run, tmp_path / f"run{ending}")
    with open(tmp_path / "run.zip", "rb") as file:
        again = load_run(unpack_run(file, tmp_path / "elsewhere"))
    assert again.records == run.records
    assert (again.config, again.task, again.state) == (run.config, run.task, "stopped")
    assert len(again.payloads()) == len(run.payloads())
