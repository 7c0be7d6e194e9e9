"""A recorded round repeated, with one payload replaced."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from deltamask.cli import main
from deltamask.inspection.anatomy import take_apart
from deltamask.inspection.corruption import Change, change_message
from deltamask.inspection.what_if import replace_payload
from deltamask.runs.reader import Run
from tests.support import tiny
from tests.support.recorded import context_of, record_run


def test_a_repeated_round_has_the_recorded_accuracy_and_a_changed_payload_another(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    payload = run.payloads(2)[1]
    data = payload.read()
    anatomy = take_apart(data, context_of(run, payload))
    seed = anatomy.section("seed").start
    files = {
        "same": data,
        "resealed": change_message(anatomy, Change(seed, anatomy.pixels[seed] ^ 1, True)),
        "damaged": change_message(anatomy, Change(seed, anatomy.pixels[seed] ^ 1, False)),
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


@pytest.mark.parametrize("round", [0, 2])
def test_a_head_from_statistics_is_made_again_with_its_recorded_temperature(
    tmp_path: Path, tiny_cache: Path, round: int
) -> None:
    run = record_run(tiny.config(head_init="gram", rho=0.5, clients=6), tmp_path / "gram")
    payload = run.payloads(round)[0]
    assert len(run.payloads(0)) == 6  # of every client, sampled later or not
    answer = replace_payload(run, round, payload.client, payload.read())
    assert answer["accuracy"] == answer["changed"] == answer["recorded"]
    lost = replace_payload(run, round, payload.client, b"lost")
    assert lost["dropped"]
    if round == 0:
        anatomy = take_apart(payload.read(), context_of(run, payload))
        assert [anatomy.kind, anatomy.section("rows").stop] == ["head-gram", 27]


def test_a_round_that_cannot_be_repeated_says_why(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torn = tmp_path / "torn"
    shutil.copytree(run.path, torn)
    (torn / "payloads" / "r0001-c03.png").unlink()
    file = str(torn / "payloads" / "r0002-c00.png")
    assert main(["what-if", str(torn), "--round", "2", "--client", "0", "--payload", file]) == 1
    assert "client 3's payload of round 1 was not kept" in capsys.readouterr().err
    assert main(["what-if", str(run.path), "--round", "9", "--client", "0", "--payload", file]) == 1
    assert "has no round 9" in capsys.readouterr().err
