"""`deltamask.run`: the command's run folder from Python; called again it goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from deltamask import list_runs, load_run, run
from deltamask.backbones import BackboneError
from deltamask.config import RunConfig
from deltamask.datasets import DatasetError
from deltamask.runs import StoreError
from deltamask.runs.begin import new_run
from deltamask.runs.folder import RunFolder
from deltamask.simulation.records import RoundRecord
from tests.support import tiny
from tests.support.commands import uninterrupted
from tests.support.tiny import timeless

CONFIG = tiny.config(rounds=3, clients=2, train_samples=100, test_samples=50, probe_epochs=2)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_cache: Path) -> Path:
    monkeypatch.setenv("DELTAMASK_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def test_it_leaves_the_run_folder_that_the_command_would(runs: Path) -> None:
    seen: list[RoundRecord] = []
    said: list[str] = []
    done = run(CONFIG, on_record=seen.append, show=lambda what, done, total: said.append(what))
    assert (done.path, done.state, done.config) == (runs / CONFIG.run_id, "finished", CONFIG)
    assert [timeless(record) for record in done.records] == uninterrupted(CONFIG)
    assert [record.round for record in seen] == [0, 1, 2, 3]
    assert "round 3, clients" in said
    assert [each.id for each in list_runs(runs)] == [CONFIG.run_id]
    sender = done.records[2]["clients"][0]
    assert len(done.payloads(2)[0].decode()) == sender["kept"] + sender["false_flips"]
    assert run(CONFIG).path == runs / f"{CONFIG.run_id}-2"  # without a folder's name, always a new one


def interrupted(at: int) -> object:
    """An on_record that is interrupted as by Ctrl-C after a round."""

    def look(record: RoundRecord) -> None:
        if record.round == at:
            raise KeyboardInterrupt

    return look


def test_called_again_it_goes_on_where_it_was_interrupted(runs: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(CONFIG, runs / "mine", on_record=interrupted(1))  # type: ignore[arg-type]
    assert (load_run("mine").state, len(load_run("mine").records)) == ("stopped", 2)
    rest: list[int] = []
    done = run(CONFIG, runs / "mine", on_record=lambda record: rest.append(record.round))
    assert (done.state, rest) == ("finished", [2, 3])
    assert [timeless(record) for record in done.records] == uninterrupted(CONFIG)


def test_interrupted_before_anybody_watches_over_it_the_folder_says_stopped(runs: Path) -> None:
    """Between the folder and the first try that would write it down there are a lock, imports and a progress bar."""
    with pytest.raises(KeyboardInterrupt), new_run(runs / "mine", CONFIG):
        raise KeyboardInterrupt
    assert load_run("mine").state == "stopped"
    assert run(CONFIG, runs / "mine").state == "finished"


def test_a_finished_run_is_left_alone_and_may_have_more_rounds(runs: Path) -> None:
    run(CONFIG.replace(rounds=1), runs / "mine")
    before = (runs / "mine" / "rounds.jsonl").read_bytes()
    assert run(CONFIG.replace(rounds=1), runs / "mine").state == "finished"
    assert (runs / "mine" / "rounds.jsonl").read_bytes() == before
    longer = run(CONFIG, runs / "mine")
    assert [timeless(record) for record in longer.records] == uninterrupted(CONFIG)
    with pytest.raises(ValueError, match="mine has 3 already"):
        run(CONFIG.replace(rounds=2), runs / "mine")


def test_a_folder_with_another_config_is_refused_by_field(runs: Path) -> None:
    run(CONFIG.replace(rounds=1), runs / "mine")
    with pytest.raises(StoreError, match=r"another config \(kappa is 1.0, not 0.5; seed is 0, not 1\): let `out`"):
        run(CONFIG.replace(rounds=1, seed=1, kappa=0.5), runs / "mine")


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"dataset": "cifar-10"}, DatasetError),
        ({"weights": "nowhere.pt"}, BackboneError),
        ({"masked_blocks": 9}, BackboneError),  # which only torch can tell, when the folder is there
    ],
)
def test_a_run_that_cannot_be_leaves_no_folder(runs: Path, changes: dict[str, object], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        run(CONFIG.replace(**changes), runs / "mine")
    assert not (runs / "mine").exists()


def test_a_run_that_somebody_stops_says_so(runs: Path) -> None:
    def stop(record: RoundRecord) -> None:
        RunFolder(runs / "mine").ask("stop")

    assert run(CONFIG, runs / "mine", on_record=stop).state == "stopped"
    assert run(CONFIG, runs / "mine").state == "finished"


def test_what_is_printed_of_a_value_is_short(runs: Path) -> None:
    done = run(CONFIG.replace(rounds=1), runs / "mine")
    records: list[RoundRecord] = []
    run(CONFIG.replace(rounds=1), runs / "again", on_record=records.append)
    payload = done.payloads(1)[0]
    assert repr(payload) == f"<Payload r0001-c00.png: {payload.size:,} bytes>"
    assert repr(records[1]).startswith("<Round 1: accuracy 0.")
    assert repr(RunConfig(rounds=3, kappa=0.5)) in ("RunConfig(kappa=0.5, rounds=3)", "RunConfig(rounds=3, kappa=0.5)")
    assert max(map(len, map(repr, [done, payload, records[1], RunConfig()]))) < 120
