"""What holds for whatever is registered as a codec."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from deltamask import methods
from deltamask.base.registry import Registry
from deltamask.codecs import CodecContext, codecs, conformance
from deltamask.codecs.conformance import realistic_flips
from deltamask.codecs.wire.message import KINDS
from deltamask.masking.masks import THETA_MAX, THETA_MIN, Positions
from deltamask.masking.noise import PublicNoise
from tests.support.wire_cases import (
    GOLDEN,
    context,
    decoders,
    digest,
    golden_payloads,
    golden_positions,
    many_flips,
    write_missing,
)

ROOT = Path(__file__).resolve().parents[2]
EXACT = [name for name in codecs if codecs[name].exact]
every_codec = pytest.mark.parametrize("name", list(codecs))


def check(name: str, positions: Positions, of: CodecContext) -> Positions:
    """Round trip; returns what was decoded."""
    return conformance.round_trip(codecs[name], positions, of)


@st.composite
def flips_and_context(draw: st.DrawFn) -> tuple[Positions, CodecContext]:
    """Any set of positions, under any θ_g: what trains, what never happens in training, and what lies between."""
    d = draw(st.integers(1, 3000))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if draw(st.booleans()):
        positions, of = realistic_flips(d, draw(st.floats(0.001, 5)), int(rng.integers(2**31)))
        return positions, of
    theta = rng.integers(draw(st.sampled_from([0, THETA_MIN, THETA_MAX])), 65536, d).astype(np.uint16)
    positions = np.flatnonzero(rng.random(d) < draw(st.sampled_from([0, 0.001, 0.01, 0.1, 0.5, 0.99, 1])))
    cuts = sorted(draw(st.lists(st.integers(0, d), max_size=4)))
    return positions, CodecContext(draw(st.integers(0, 2**32 - 1)), 9, theta, PublicNoise(1, 2, 3), (0, *cuts, d))


@every_codec
@settings(max_examples=30, deadline=None)
@given(case=flips_and_context())
def test_round_trip(name: str, case: tuple[Positions, CodecContext]) -> None:
    check(name, *case)


@settings(max_examples=60, deadline=None)
@given(case=flips_and_context())
def test_gap_never_costs_more_than_plain_gaps(case: tuple[Positions, CodecContext]) -> None:
    """Whatever flips: its fields of four bytes are all that it may lose."""
    assert len(codecs["gap"].encode(*case)) <= len(codecs["rice"].encode(*case)) + 4


def test_gap_sends_a_run_of_neighbours_as_such() -> None:
    of = context(100_000)
    flips = np.arange(40_000, 41_000)
    payload = codecs["gap"].encode(flips, of)
    assert len(payload) < 1000  # 148 bits a flip by distance, with nothing to be learnt from u
    np.testing.assert_array_equal(codecs["gap"].decode(payload, of), flips)


@every_codec
def test_tiny_sets_have_their_true_size(name: str) -> None:
    """0, 1 and 2 flips of 100,000: headers and pictures included, nothing that grows with d but whole masks."""
    of = context(100_000)
    sizes = [len(codecs[name].encode(np.arange(count) * 40_000, of)) for count in (0, 1, 2)]
    assert sizes[0] <= sizes[1] + 4
    assert sizes[0] >= 24
    assert name in ("mask", "mask-theta") or max(sizes) < 200


def test_nothing_of_the_processs_memory_reaches_the_wire() -> None:
    """Not even through filter slots that no key fills: the C library is told to fill fresh memory with a pattern."""
    script = (
        "import zlib\nfrom deltamask.codecs import codecs\nfrom deltamask.codecs.conformance import realistic_flips\n"
        "flips, of = realistic_flips(30_000, 0.4, 3)\n"
        "print({name: zlib.crc32(codecs[name].encode(flips, of)) for name in codecs})"
    )
    outputs = set()
    for pattern in ("1", "170"):
        environment = dict(os.environ, MALLOC_PERTURB_=pattern)
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1, outputs


@pytest.mark.parametrize("name", [name for name in codecs if codecs[name].false_positive_rate])
def test_false_positive_rate(name: str) -> None:
    """Pooled over filters, the false flips lie inside the 99.9 % binomial interval around the declared rate."""
    codec = codecs[name]
    rate = codec.false_positive_rate
    d, filters = (400_000, 4) if rate > 2**-20 else (200_000, 1)
    false = asked = 0
    for seed in range(filters):
        of = CodecContext(1, seed, np.full(d, 40_000, np.uint16), PublicNoise(seed, 1, seed))
        positions = np.sort(np.random.default_rng(seed).choice(d, 3_000, replace=False))
        false += len(check(name, positions, of)) - len(positions)
        asked += d - len(positions)
    low, high = binom.interval(0.999, asked, rate)
    assert low <= false <= high, f"{false} false flips of {asked}, expected {asked * rate:.0f}"


def test_the_gate_removes_most_false_flips() -> None:
    positions, of = realistic_flips(300_000, 0.3, 5)
    plain, gated = (len(check(name, positions, of)) - len(positions) for name in ("bfuse8", "bfuse8-gated"))
    assert gated < plain / 3


@every_codec
def test_golden_payload(name: str) -> None:
    """Payloads of earlier versions decode to what they did then."""
    index = json.loads((GOLDEN / "index.json").read_text())
    assert index["context"]["positions"] == golden_positions().tolist()
    decoded = codecs[name].decode(golden_payloads()[name], context())
    assert digest(decoded) == index[name]["sha256_of_decoded"]
    assert np.isin(golden_positions(), decoded).all()
    if name in EXACT:
        np.testing.assert_array_equal(decoded, golden_positions())


def test_golden_payload_of_gap_over_many_chunks() -> None:
    """The integers of its model are the wire: any change to them shows here. The encoder still writes these bytes."""
    positions, of = many_flips()
    golden = (GOLDEN / "gap-60000.bin").read_bytes()
    np.testing.assert_array_equal(codecs["gap"].decode(golden, of), positions)
    assert codecs["gap"].encode(positions, of) == golden


@pytest.mark.parametrize("name", [name for name in decoders() if name not in codecs])
def test_golden_dense_payload(name: str) -> None:
    index = json.loads((GOLDEN / "index.json").read_text())
    decoded = decoders()[name][2](golden_payloads()[name])
    assert digest(np.asarray(decoded)) == index[name]["sha256_of_decoded"]


def test_every_kind_of_message_has_a_golden_payload() -> None:
    methods.names()  # some register a kind of their own
    ours = {name for name, kind in KINDS.items() if kind.number < 128}  # the others are packages' from outside
    assert ours <= set(decoders())


def test_golden_payloads_are_never_rewritten() -> None:
    before = golden_payloads()
    changed = {path.name: path.stat().st_mtime_ns for path in GOLDEN.iterdir()}
    write_missing()
    assert golden_payloads() == before
    assert {path.name: path.stat().st_mtime_ns for path in GOLDEN.iterdir()} == changed
    assert set(before) >= set(codecs)


@pytest.mark.parametrize("new", ["rice.bin", "bfuse8.png", "eden1.bin"])
def test_a_new_codec_gets_its_golden_payload_by_itself(new: str, tmp_path: Path) -> None:
    """As soon as any test asks for them: nothing else has to be run first."""
    before = golden_payloads()
    folder = shutil.copytree(GOLDEN, tmp_path / "golden")
    (folder / new).unlink()
    index = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps({key: index[key] for key in index if key != Path(new).stem}))
    assert golden_payloads(folder) == before
    assert json.loads((folder / "index.json").read_text()) == index


def test_registry_names_are_unique_and_listed() -> None:
    registry: Registry[int] = Registry("toy")
    registry.register("a")(1)
    with pytest.raises(ValueError, match="'a' is registered already"):
        registry.register("a")(2)
    with pytest.raises(KeyError, match="unknown toy 'b'; there are: a"):
        registry["b"]
    for name in codecs:
        assert codecs[name].name == name
        assert codecs[name].suffix in (".png", ".bin")
