"""Checkpoints: whole and of this run, or refused with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from deltamask.config import RunConfig
from deltamask.runs import StoreError
from deltamask.runs.folder import RunFolder

CONFIG = RunConfig(rounds=3, kappa=0.5)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", CONFIG)


def test_a_checkpoint_comes_back_bit_for_bit(folder: RunFolder) -> None:
    assert folder.load_state(CONFIG) is None
    arrays = {
        "theta": np.arange(1000, dtype=np.uint16),
        "ones": np.arange(-5, 5, dtype=np.int32),
        "seen": np.array([7], np.int64),
        "head": np.array([0.1, -1e-30], np.float32),
        "empty": np.zeros(0, np.int64),
    }
    folder.save_state(12, arrays, CONFIG)
    folder.save_state(13, arrays, CONFIG)
    stored = folder.load_state(CONFIG)
    assert stored is not None
    assert stored[0] == 13
    assert stored[1].keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(stored[1][name], array, strict=True)


@pytest.mark.parametrize("damage", ["torn", "empty", "garbage", "foreign"])
def test_a_damaged_checkpoint_says_what_to_do(folder: RunFolder, damage: str) -> None:
    folder.save_state(3, {"theta": np.arange(1000, dtype=np.uint16)}, CONFIG)
    path = folder.path / "state.safetensors"
    content = path.read_bytes()
    garbage = np.random.default_rng(0).bytes(500)
    path.write_bytes({"torn": content[:-700], "empty": b"", "garbage": garbage, "foreign": b"PK\3\4 a zip"}[damage])
    with pytest.raises(StoreError) as caught:
        folder.load_state(CONFIG)
    assert str(path) in str(caught.value)
    assert "is damaged" in str(caught.value)
    assert "delete it and rounds.jsonl to start from round 0" in str(caught.value)


def test_a_bit_that_has_flipped_is_found(folder: RunFolder) -> None:
    folder.save_state(3, {"theta": np.arange(1000, dtype=np.uint16), "head": np.ones(3, np.float32)}, CONFIG)
    path = folder.path / "state.safetensors"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1  # among the values: the file is as well-formed as before
    path.write_bytes(content)
    with pytest.raises(StoreError, match="its checksum does not fit"):
        folder.load_state(CONFIG)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"kappa": 0.25}, "kappa was 0.5 and is 0.25"),
        ({"seed": 1}, "seed was 0 and is 1"),
        ({"method": "fedpm"}, "method was deltamask and is fedpm"),
        ({"dataset": "digits", "lr": 0.2}, "dataset was fashion-mnist-mini and is digits; lr was 0.1 and is 0.2"),
    ],
)
def test_a_checkpoint_of_another_config_is_refused(folder: RunFolder, change: dict[str, Any], named: str) -> None:
    """An edited config.json, or a file that was copied from another run."""
    folder.save_state(3, {"theta": np.zeros(10)}, CONFIG)
    with pytest.raises(StoreError) as caught:
        folder.load_state(CONFIG.replace(**change))
    parts = str(caught.value).split("(")[1].split(")")[0].split("; ")
    assert set(named.split("; ")) == set(parts)


def test_what_no_state_depends_on_may_change(folder: RunFolder) -> None:
    folder.save_state(3, {"theta": np.zeros(10)}, CONFIG)
    for change in ({"device": "cpu"}, {"keep_payloads": "all"}, {"rounds": 80}):
        assert folder.load_state(CONFIG.replace(**change)) is not None
    cosine = CONFIG.replace(lr_schedule="cosine")
    folder.save_state(3, {"theta": np.zeros(10)}, cosine)
    with pytest.raises(StoreError, match="rounds was 3 and is 80"):  # its steps were those of a shorter run
        folder.load_state(cosine.replace(rounds=80))


def test_an_earlier_revision_s_checkpoint_says_its_round_alone(folder: RunFolder) -> None:
    (folder.path / "state.safetensors").write_bytes(
        safetensors.numpy.save({"theta": np.arange(5, dtype=np.uint16)}, metadata={"round": "2"})
    )
    stored = folder.load_state(CONFIG)
    assert stored is not None
    assert stored[0] == 2
    assert stored[1]["theta"].tolist() == [0, 1, 2, 3, 4]
