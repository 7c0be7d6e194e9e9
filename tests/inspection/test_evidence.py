"""What a run folder tells of a payload: true and false flips, θ_g rebuilt, a round played again; damaged folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deltamask import codecs
from deltamask.base.paths import recorded_dir
from deltamask.cli import main
from deltamask.codecs import DecodeError
from deltamask.config import RunConfig
from deltamask.inspection import anatomy, codec_comparison, corruption, recorded_payload
from deltamask.inspection.recorded_payload import Flips, RecordedContext
from deltamask.inspection.replay import theta_before
from deltamask.runs import StoreError
from deltamask.runs.folder import RunFolder
from deltamask.runs.reader import Payload, Run, load_run
from deltamask.runs.runner import execute
from deltamask.simulation.loop import simulate
from tests.support import tiny

SHAPES: list[dict[str, Any]] = [
    {"kappa": 0.6},
    {"codec": "gap", "noise": "shared"},
    {"aggregation": "unbiased", "codec": "bfuse8-gated"},
    {"rho": 0.5, "rounds": 4},
]


def record(config: RunConfig, folder: Path) -> Run:
    execute(RunFolder.create(folder, config), config, on_record=lambda r: None, show=lambda what, done, total: None)
    return load_run(folder)


@pytest.fixture(scope="module")
def run(tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return record(tiny.config(kappa=0.6), tmp_path_factory.mktemp("runs") / "one")


def context_of(run: Run, payload: Payload) -> RecordedContext:
    return RecordedContext(run, recorded_payload.layers_of(run), payload.round, payload.client)


def flips_of(run: Run, payload: Payload) -> Flips:
    return recorded_payload.flips_of(run, payload, recorded_payload.read_payload(payload), context_of(run, payload))


def test_every_payload_of_flips_has_its_sidecar_and_it_says_what_the_record_counts(run: Run) -> None:
    payloads = [payload for payload in run.payloads() if payload.round > 0]
    assert len(payloads) == 2 * 4
    for payload in payloads:
        line = recorded_payload.client_record(run, payload.round, payload.client)
        flips = flips_of(run, payload)
        assert flips.delta is not None
        assert flips.sent is not None
        assert flips.false is not None
        assert flips.held_back is not None
        assert (len(flips.delta), len(flips.sent), len(flips.false)) == (
            line["flips"],
            line["kept"],
            line["false_flips"],
        )
        assert 0 < len(flips.sent) < len(flips.delta)
        assert np.array_equal(np.union1d(flips.sent, flips.held_back), flips.delta)
        assert np.array_equal(np.union1d(flips.sent, flips.false), flips.decoded)
    assert not list((run.path / "payloads").glob("r0000-*.flips"))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_theta_is_rebuilt_bit_for_bit(tiny_cache: Path, tmp_path: Path, shape: dict[str, Any]) -> None:
    config, witness = tiny.config(**shape), tiny.Witness()
    recorded = record(config, tmp_path / "run")
    list(simulate(config, observer=witness))
    for checkpoint in witness.checkpoints:
        if checkpoint.round < config.rounds:
            np.testing.assert_array_equal(theta_before(recorded, checkpoint.round + 1), checkpoint.state.theta)


def test_a_payload_that_was_not_kept_is_named(tiny_cache: Path, tmp_path: Path) -> None:
    few = record(tiny.config(keep_payloads="few"), tmp_path / "few")
    (few.path / "payloads" / "r0002-down.bin").unlink()
    assert len(theta_before(few, 1)) == tiny.D
    with pytest.raises(StoreError, match="has not kept the broadcast of round 2"):
        theta_before(few, 2)
    assert "client 2's payload of round 0 was not kept" in str(recorded_payload.missing_payload(few, 1))
    payload = next(payload for payload in few.payloads(2))
    assert flips_of(few, payload).false is not None  # needs no θ_g: it is only rebuilt when a codec asks


def test_side_information_is_rebuilt_only_when_it_is_asked_for(run: Run) -> None:
    payload = run.payloads(2)[0]
    context = context_of(run, payload)
    recorded_payload.decode(run.config, recorded_payload.read_payload(payload), context)
    assert "theta" not in vars(context)
    rows = list(codec_comparison.encode_all(flips_of(run, payload).sent, context))  # type: ignore[arg-type]
    assert "theta" in vars(context)
    assert [row.codec for row in rows] == codecs.names()
    used = next(row for row in rows if row.codec == run.config.codec)
    line = recorded_payload.client_record(run, payload.round, payload.client)
    assert (used.bytes, used.false_flips) == (line["uplink_bytes"], line["false_flips"])
    assert all(row.false_flips == 0 for row in rows if codecs.get(row.codec).exact)
    iid, side = codec_comparison.bounds(flips_of(run, payload).sent, context)  # type: ignore[arg-type]
    assert side < iid < used.bpp


def test_bounds_are_those_of_the_record(run: Run) -> None:
    found = [codec_comparison.bounds(flips_of(run, p).sent, context_of(run, p)) for p in run.payloads(2)]  # type: ignore[arg-type]
    assert np.mean([iid for iid, _ in found]) == pytest.approx(run.records[2]["entropy_iid"])
    assert np.mean([side for _, side in found]) == pytest.approx(run.records[2]["entropy_side"])


def test_playing_a_round_again_gives_the_recorded_accuracy_and_breaking_it_another(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    payload = run.payloads(2)[1]
    data = recorded_payload.read_payload(payload)
    view = anatomy.look(data, context_of(run, payload))
    seed = view.section("seed").start
    files = {
        "same": data,
        "resealed": corruption.change_pixel(view, seed, view.pixels[seed] ^ 1, repair=True),
        "damaged": corruption.change_pixel(view, seed, view.pixels[seed] ^ 1, repair=False),
    }
    answers = {}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        arguments = ["what-if", str(run.path), "--round", "2", "--client", str(payload.client), "--json"]
        assert main([*arguments, "--payload", str(tmp_path / name)]) == 0
        answers[name] = json.loads(capsys.readouterr().out)
    recorded = run.records[2]["accuracy"]
    assert all(answer["accuracy"] == answer["recorded"] == recorded for answer in answers.values())
    assert answers["same"]["changed"] == recorded
    assert answers["same"]["dropped"] is None
    assert answers["resealed"]["dropped"] is None
    assert answers["damaged"]["dropped"] == "checksum does not match: the message was damaged"
    assert {answers["resealed"]["changed"], answers["damaged"]["changed"]} != {recorded}


def test_a_round_that_cannot_be_played_again_says_why(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torn = tmp_path / "torn"
    shutil.copytree(run.path, torn)
    (torn / "payloads" / "r0001-c03.png").unlink()
    file = str(torn / "payloads" / "r0002-c00.png")
    assert main(["what-if", str(torn), "--round", "2", "--client", "0", "--payload", file]) == 1
    assert "client 3's payload of round 1 was not kept" in capsys.readouterr().err
    assert main(["what-if", str(run.path), "--round", "9", "--client", "0", "--payload", file]) == 1
    assert "has no round 9" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        {"d": -1}, {"d": 10**12}, {"d": True}, {"d": "many"}, {"layers": []}, {"layers": None},
        {"layers": [{"name": 1}]},
        {"layers": [{"name": "a", "start": 0, "stop": 5, "shape": [5]}]},
        {"layers": [{"name": "a", "start": 0, "stop": 4352, "shape": [4351]}]},
    ],
)  # fmt: skip
def test_damaged_description_of_the_task_is_refused(run: Run, tmp_path: Path, change: dict[str, Any]) -> None:
    hostile = tmp_path / "hostile"
    shutil.copytree(run.path, hostile)
    (hostile / "task.json").write_text(json.dumps({**run.task, **change}))
    with pytest.raises(StoreError, match=r"task\.json is missing or damaged"):
        recorded_payload.layers_of(load_run(hostile))


def test_a_payload_of_somebody_else_or_of_nonsense_is_refused(run: Run) -> None:
    one, other = run.payloads(2)[:2]
    for data in (recorded_payload.read_payload(other), b"", b"nonsense", recorded_payload.read_payload(one)[:-9]):
        with pytest.raises(DecodeError):
            anatomy.look(data, context_of(run, one))


def test_a_damaged_sidecar_only_costs_what_it_said(run: Run, tmp_path: Path) -> None:
    torn = tmp_path / "torn"
    shutil.copytree(run.path, torn)
    (torn / "payloads" / "r0002-c00.flips").write_bytes(b"\0" * 40)
    broken = load_run(torn)
    flips = flips_of(broken, broken.payloads(2)[0])
    assert flips.sent is None
    assert np.array_equal(flips.decoded, flips_of(run, run.payloads(2)[0]).decoded)


def test_recorded_payloads_open() -> None:
    run = load_run(recorded_dir() / "fashion")
    for payload in run.payloads()[1::40]:
        view = anatomy.look(recorded_payload.read_payload(payload), context_of(run, payload))
        assert sum(share.bits for share in anatomy.shares(view)) == pytest.approx(8 * payload.path.stat().st_size)
