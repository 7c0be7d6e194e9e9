"""A node that was let in and lies: the round goes on without it, and with all others."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import tiny
from tests.support.remote import in_process, payloads

pytest.importorskip("flwr", reason="`make test-federation` installs it")

from deltamask_flower import answers, wire
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from deltamask.codecs import DecodeError
from tests.support.flower_loop import LoopGrid, failed, loop_nodes, run_on

pytestmark = pytest.mark.federation
LIAR, ROUND = 101, 1
CONFIG = tiny.config(rounds=2, probe_epochs=5)  # forty runs: a better head would say nothing more of lies


def report(name: str, value: Any) -> Callable[[Message], None]:
    def change(reply: Message) -> None:
        reply.content[wire.REPORT][name] = value

    return change


def record(name: str, value: Any) -> Callable[[Message], None]:
    def change(reply: Message) -> None:
        reply.content[name] = value

    return change


def raw(data: bytes) -> ArrayRecord:
    return ArrayRecord({"0": Array(dtype="uint8", shape=(7,), stype="numpy.ndarray", data=data)})


LIES = {
    **{f"{name} {value}": report(name, value)
       for name in ("flips", "kept") for value in (math.inf, math.nan, -1, 1.5, tiny.D + 1, [1, 2])},
    **{f"{name} {value}": report(name, value)
       for name in ("loss", "entropy_iid", "entropy_side", "seconds_train", "seconds_encode")
       for value in (math.inf, math.nan, -1e300, [1.0])},
    "a short text where counts are expected": record(wire.REPORT, ConfigRecord({"flips": "many"})),
    "two payloads": record(wire.PAYLOAD, wire.pack([b"a", b"b"])),
    "a thousand payloads": record(wire.PAYLOAD, wire.pack([b""] * 1000)),
    "twenty million bytes": record(wire.PAYLOAD, wire.pack([bytes(20_000_000)])),
    "no array": record(wire.PAYLOAD, raw(b"x" * 300)),
    "another record": record(wire.PAYLOAD, ConfigRecord({"x": 1})),
    "have is a text": record(wire.SHARD, ConfigRecord({"have": "all"})),
    "have is negative": record(wire.SHARD, ConfigRecord({"have": -1})),
}  # fmt: skip


@pytest.fixture(scope="module")
def without() -> tiny.Witness:
    """The same run when nothing comes of the liar in that round."""
    return in_process(CONFIG, {(ROUND, LIAR - 100)})


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_costs_its_sender_the_round_and_nobody_else(lie: str, without: tiny.Witness, tmp_path: Path) -> None:
    def lies(round: int, node: int, reply: Message) -> Message:
        if (round, node) == (ROUND, LIAR):
            LIES[lie](reply)
        return reply

    run = run_on(CONFIG, tmp_path / "run", LoopGrid(loop_nodes(CONFIG, tmp_path), lies))
    assert run.state == "finished"
    assert [client["dropped"] is None for client in run.records[ROUND]["clients"]] == [True, False, True, True]
    assert payloads(run) == without.payloads
    assert [stored["accuracy"] for stored in run.records] == [reference.accuracy for reference in without.records]
    assert all(client["dropped"] is None for client in run.records[2]["clients"])


@pytest.mark.parametrize("way", ["lost", "error"])
def test_a_nodes_words_are_cut_and_printable(way: str, tmp_path: Path) -> None:
    config, words = tiny.config(rounds=1), "\x1b[2J\0" + "ä" * 20_000_000

    def shouts(round: int, node: int, reply: Message) -> Message:
        if (round, node) != (ROUND, LIAR):
            return reply
        if way == "error":
            return failed(reply, words)
        reply.content[wire.SETTINGS]["lost"] = words
        return reply

    run = run_on(config, tmp_path / "run", LoopGrid(loop_nodes(config, tmp_path), shouts))
    dropped = run.records[ROUND]["clients"][LIAR - 100]["dropped"]
    assert len(dropped) == answers.LONGEST_TEXT
    assert dropped.isprintable()
    assert (tmp_path / "run" / "rounds.jsonl").stat().st_size < 100_000


def test_a_reply_of_another_node_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    config = tiny.config(rounds=1)

    def swaps(round: int, node: int, reply: Message) -> Message:
        if (round, node) == (ROUND, LIAR):
            reply.metadata.__dict__["_src_node_id"] = 100
        return reply

    run = run_on(config, tmp_path / "run", LoopGrid(loop_nodes(config, tmp_path), swaps))
    assert run.records[ROUND]["clients"][1]["dropped"] == "node 100 answered for client 1"


def test_honest_reports_pass() -> None:
    limits = answers.Limits(d=100, head_size=10)
    assert answers.read_report(MetricRecord({}), limits).flips is None
    read = answers.read_report(
        MetricRecord({"flips": 100, "kept": 0, "loss": 0.5, "entropy_iid": 0.0, "seconds_train": 3}), limits
    )
    assert (read.flips, read.kept, read.loss, read.seconds) == (100, 0, 0.5, {"train": 3.0})


@pytest.mark.parametrize(("d", "head_size"), [(1, 1), (1000, 10), (1_009_792, 12_810)])
def test_no_codec_needs_half_of_what_a_payload_may_have(d: int, head_size: int) -> None:
    longest = answers.Limits(d, head_size).payload_bytes
    assert 2 * (4 * (d + head_size) + 100) < longest  # 32 bits a value
    from deltamask.codecs import CodecContext, codecs
    from deltamask.masking.noise import PublicNoise

    context = CodecContext(1, 0, np.full(d, 60_000, np.uint16), PublicNoise(0, 1, 0), (0, d))
    for name in codecs:
        if d <= 1000 or name in ("bfuse32", "xor16"):
            assert 2 * len(codecs[name].encode(np.arange(d), context)) < longest, name


def test_a_payload_beyond_the_limit_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "SMALLEST_LIMIT", 200)
    reply = Message(RecordDict({wire.PAYLOAD: wire.pack([bytes(1000)])}), dst_node_id=1, message_type="train")
    with pytest.raises(DecodeError, match=r"1,128 bytes, at most 216 are read"):
        answers.read_upload(reply, answers.Limits(1, 0))


def test_what_is_stored_is_json(tmp_path: Path) -> None:
    """NaN and infinity have no place in a record."""
    config = tiny.config(rounds=1)
    run_on(config, tmp_path / "run", LoopGrid(loop_nodes(config, tmp_path)))
    for line in (tmp_path / "run" / "rounds.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda word: pytest.fail(word))
