"""The benchmark behind `deltamask bench codecs`: its keys are a promise to programs that read them."""

from __future__ import annotations

import numpy as np
import pytest

from deltamask.cli import bench_codecs
from deltamask.codecs import codecs
from deltamask.codecs.entropy import entropy_iid, entropy_side

KEYS = [
    "codec",
    "bytes",
    "bits_per_flip",
    "entropy_iid",
    "entropy_side",
    "false_flips",
    "exact",
    "encode_ns_per_position",
    "decode_ns_per_position",
    "peak_bytes",
]


def test_rows_for_every_codec_and_for_a_user_of_pyfusefilter(capsys: pytest.CaptureFixture[str]) -> None:
    rows = bench_codecs.bench_codecs(60_000, 0.01, 0)
    assert [row["codec"] for row in rows[:-1]] == list(codecs)
    assert rows[-1]["codec"] == "pyfusefilter, key by key (60,000 asked)"
    positions, context = bench_codecs.synthetic_flips(60_000, 0.01, 0)
    for row in rows:
        assert list(row) == KEYS
        assert row["bits_per_flip"] == pytest.approx(8 * row["bytes"] / len(positions))
        assert row["entropy_iid"] == pytest.approx(entropy_iid(len(positions), 60_000) / len(positions))
        assert row["entropy_side"] == pytest.approx(entropy_side(positions, context) / len(positions))
        assert row["encode_ns_per_position"] > 0 < row["decode_ns_per_position"]
    for row in rows[:-1]:
        assert row["bytes"] == len(codecs[row["codec"]].encode(positions, context))
        assert row["exact"] == codecs[row["codec"]].exact
        assert (row["false_flips"] == 0) or not row["exact"]
    by_name = {row["codec"]: row for row in rows}
    assert 100 < by_name["bfuse8"]["false_flips"] < 400
    bench_codecs.print_table(rows)
    printed = capsys.readouterr().out
    assert all(name in printed for name in by_name)


@pytest.mark.parametrize("density", [0.001, 0.01, 0.1])
def test_synthetic_flips_have_the_density_asked_for(density: float) -> None:
    positions, context = bench_codecs.synthetic_flips(300_000, density, 3)
    assert len(positions) == pytest.approx(density * 300_000, rel=0.15)
    again, _ = bench_codecs.synthetic_flips(300_000, density, 3)
    np.testing.assert_array_equal(positions, again)
    assert entropy_side(positions, context) < entropy_iid(len(positions), context.d)


def test_density_out_of_range_is_named() -> None:
    with pytest.raises(ValueError, match=r"density = 0.9, must lie in \(0, 0.4\)"):
        bench_codecs.synthetic_flips(1000, 0.9, 0)


def test_peak_memory_sees_an_array_come_and_go() -> None:
    with bench_codecs.PeakMemory() as memory:
        np.ones(8_000_000)
    assert 60e6 < memory.bytes < 90e6
