"""How large a Bloom filter may be: as large as a sender needs, and no larger. Each bit and each hash is work."""

from __future__ import annotations

import numpy as np
import pytest

from deltamask.codecs import DecodeError, bloom, codecs
from deltamask.codecs.base import scan
from deltamask.codecs.bloom import FIELDS, LARGE, BloomCodec
from deltamask.codecs.wire import png
from deltamask.codecs.wire.message import seal
from tests.support.wire_cases import context

BOTH = [BloomCodec(exact=False), BloomCodec(exact=True)]
SIZES = (1, 2, 7, 100, 512, 20_000)


@pytest.mark.parametrize("codec", BOTH, ids=lambda codec: codec.name)
def test_whatever_is_sent_is_within_the_bounds(codec: BloomCodec) -> None:
    for d in SIZES:
        for count in sorted({*range(1, min(d, 40) + 1), *np.geomspace(1, d, 60).astype(int).tolist()}):
            filter = bloom.build(np.arange(count), codec._rate(count, d))
            assert filter.hashes <= codec.most_hashes
            assert filter.m <= codec.most_bits(filter.hashes, d), (d, count)


@pytest.mark.parametrize("codec", BOTH, ids=lambda codec: codec.name)
def test_sets_of_every_size_arrive(codec: BloomCodec) -> None:
    of = context(20_000)
    for positions in (np.arange(20_000), np.arange(0, 20_000, 2), np.arange(0, 20_000, 97), np.array([19_999])):
        read = codec.decode(codec.encode(positions, of), of)
        assert np.isin(positions, read).all()
        assert not codec.exact or len(read) == len(positions)


def sent(name: str, d: int, m: int, hashes: int, bits: bytes) -> bytes:
    of = context(d)
    return png.write(seal(name, of.round, of.client, d, FIELDS.pack(m, hashes, 0) + bits))


@pytest.mark.parametrize(("name", "hashes"), [("bloom", 8), ("bloom", 1), ("bloom-p0", 1), ("bloom-p0", 12)])
def test_a_filter_larger_than_anybody_needs_is_refused(name: str, hashes: int) -> None:
    codec = BloomCodec(exact=name == "bloom-p0")
    most = codec.most_bits(hashes, 20_000)
    with pytest.raises(DecodeError, match="at most"):
        codecs[name].decode(sent(name, 20_000, most + 1, hashes, bytes(most // 8 + 1)), context(20_000))
    if name == "bloom":
        assert not len(codecs[name].decode(sent(name, 20_000, most, hashes, bytes(-(-most // 8))), context(20_000)))


def test_a_full_filter_is_refused_before_it_is_asked() -> None:
    m = 2 * LARGE
    with pytest.raises(DecodeError, match="of which 100% are set: at most 75%"):
        codecs["bloom"].decode(sent("bloom", 20_000, m, 8, b"\xff" * (m // 8)), context(20_000))
    assert m <= BOTH[0].most_bits(8, 20_000)


def test_more_hashes_than_a_rate_has_are_refused() -> None:
    with pytest.raises(DecodeError, match="with 9 hashes, at most 8"):
        codecs["bloom"].decode(sent("bloom", 20_000, 64, 9, bytes(8)), context(20_000))


def test_a_scan_in_chunks_is_one_over_all() -> None:
    found = scan(lambda start, stop: np.arange(start, stop) % 3 == 0, 1000, 7)
    np.testing.assert_array_equal(found, np.arange(0, 1000, 3))
    assert len(scan(lambda start, stop: np.zeros(stop - start, bool), 0)) == 0
