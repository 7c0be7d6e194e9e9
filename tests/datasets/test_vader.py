"""VADER's sentences: read from the source distribution as it comes, with their sources as clients."""

from __future__ import annotations

import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from deltamask import datasets
from deltamask.config import RunConfig
from deltamask.conformance.datasets import LAWS
from deltamask.datasets import DatasetError, partitions
from tests.support import real_formats

SDIST = Path("vader/vaderSentiment-3.3.2.tar.gz")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DELTAMASK_DATA", str(tmp_path))
    return tmp_path


def test_sentences_are_split_by_class_and_source_and_the_neutral_ones_left_out(root: Path) -> None:
    real_formats.vader(root)
    data = datasets.load("vader")
    assert data.groups is not None
    assert data.groups.names == ("film reviews", "editorials", "tweets", "product reviews")
    assert data.classes == ("negative", "positive")
    for x, y in ((data.train_x, data.train_y), (data.test_x, data.test_y)):
        assert isinstance(x, np.ndarray)
        assert [int("fine" in text) for text in x] == y.tolist()
        assert not any("ordinary" in text for text in x)
    of = Counter(zip(data.groups.of.tolist(), data.train_y.tolist(), strict=True))
    # Two thirds of 24, 20, 40 and 30 sentences, half of them positive; of each such half a fifth is held out.
    assert of == {(0, 0): 7, (0, 1): 7, (1, 0): 6, (1, 1): 6, (2, 0): 11, (2, 1): 12, (3, 0): 8, (3, 1): 8}
    assert len(data.test_y) == 12
    assert all(text.startswith(start) for text, group in zip(data.train_x, data.groups.of, strict=True)
               if (start := ["movie", "nytEditorial", "tweets", "amazon"][group]))  # fmt: skip
    assert set(data.train_y[:12].tolist()) == {0, 1}  # mixed
    assert set(data.groups.of[:24].tolist()) == {0, 1, 2, 3}
    assert any("37 sentences rated between −0.5 and 0.5" in note for note in data.notes)
    assert len(data.notes) == 1
    for law in LAWS.values():
        law(datasets.get("vader"))


def test_each_source_is_a_client(root: Path) -> None:
    real_formats.vader(root)
    data = datasets.load("vader")
    config = RunConfig(dataset="vader", backbone="minilm-l6", partition="natural", clients=4, train_samples=65)
    shards = partitions.split(config, data.train_y, data.groups)
    assert [len(shard) for shard in shards] == [14, 12, 23, 16]
    assert data.groups is not None
    assert [set(data.groups.of[shard].tolist()) for shard in shards] == [{0}, {1}, {2}, {3}]
    assert datasets.get("vader").groups


def test_rows_that_cannot_be_used_are_counted_and_named(root: Path) -> None:
    rows = b"\r\n".join(
        [
            b"1\t2.5\tGood &amp; cheap", b"2\t-3\tcaf\xe9 was bad", b"3\t\tno rating", b"4\tnan\tneither",
            b"5\t7\tbeyond the scale", b"6\t1.5", b"", b"7\t-1\t  ", b"8\t-2\tGood &amp; cheap", b"9\t0.49\tso so",
            b"10\t0.5\tjust\tgood",
        ]
    )  # fmt: skip
    real_formats.vader(root, {"tweets": rows})
    data = datasets.load("vader")
    texts = dict(zip(np.concatenate([data.train_x, data.test_x]), [*data.train_y, *data.test_y], strict=True))
    assert texts["Good & cheap"] == 1  # its first rating
    assert texts["caf� was bad"] == 0
    assert texts["just good"] == 1
    said = " ".join(data.notes)
    assert "5 rows without a sentence or a rating from −4 to 4 are left out" in said
    assert "1 sentences that are there twice are taken once" in said
    assert f"{37 - 13 + 1} sentences rated between" in said


def test_archives_that_are_torn_or_lack_something_are_refused(root: Path) -> None:
    real_formats.vader(root)
    path = root / SDIST
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match=r"hutto_ICWSM_2014\.tar\.gz cannot be read in it"):
        datasets.load("vader")
    path.write_bytes(real_formats.tar_gz({"vaderSentiment-3.3.2/setup.py": b""}))
    with pytest.raises(DatasetError, match="cannot be read in it"):
        datasets.load("vader")
    inner = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
    path.write_bytes(real_formats.tar_gz({inner: real_formats.tar_gz({"hutto_ICWSM_2014/README": b"x"})}))
    with pytest.raises(DatasetError, match=r"movieReviewSnippets_GroundTruth\.txt cannot be read"):
        datasets.load("vader")
    path.write_bytes(b"no archive")
    with pytest.raises(DatasetError, match=f"{path}: "):
        datasets.load("vader")


def test_a_member_that_unpacks_to_far_too_much_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from deltamask.datasets.catalogue import vader

    monkeypatch.setattr(vader, "MOST", 1000)
    real_formats.vader(root)
    assert tarfile.is_tarfile(root / SDIST)
    with pytest.raises(DatasetError, match="longer than 1,000 bytes"):
        datasets.load("vader")


def test_without_it_the_error_says_how_to_get_it(root: Path) -> None:
    with pytest.raises(DatasetError, match="`deltamask download vader`"):
        datasets.load("vader")
