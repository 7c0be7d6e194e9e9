"""Text: the same method, codecs and ledger over MiniLM's layers and BBC News."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from deltamask import backbones, datasets
from deltamask.backbones import BackboneError
from deltamask.backbones.minilm import TOKENS
from deltamask.backbones.split import Backbone, Tail
from deltamask.config import RunConfig
from deltamask.datasets import ImageDataset
from deltamask.simulation.loop import simulate
from deltamask.task.task import load_task


@pytest.fixture(scope="module")
def news() -> ImageDataset:
    return datasets.load("bbc-news")


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return backbones.build("minilm-l6", 2)


def small(**changes: Any) -> RunConfig:
    """Few articles and a short trunk, which sees a whole chunk of them."""
    values: dict[str, Any] = {
        "backbone": "minilm-l6", "masked_blocks": 5, "dataset": "bbc-news", "train_samples": 40, "test_samples": 20,
        "clients": 2, "rounds": 1, "batch_size": 16, "probe_epochs": 20, "probe_lr": 0.03, "codec": "gap",
    }  # fmt: skip
    return RunConfig(**(values | changes))


def test_every_article_is_there_once_and_every_class_in_both_parts(news: ImageDataset) -> None:
    texts = np.concatenate([news.train_x, news.test_x])
    assert (len(texts), len(set(texts.tolist()))) == (2121, 2121)
    assert news.train_x.dtype.kind == "U"
    assert news.classes == ("business", "entertainment", "politics", "sports", "tech")
    shares = np.bincount(news.test_y) / (np.bincount(news.train_y) + np.bincount(news.test_y))
    assert np.allclose(shares, 0.2, atol=0.003)
    assert set(news.train_y[:60].tolist()) == set(range(5))  # the front of the order is a mixture
    (ink,) = [at for at, text in enumerate(texts) if text.startswith("Ink helps drive democracy in Asia")]
    assert np.concatenate([news.train_y, news.test_y])[ink] == 4
    assert any("\N{POUND SIGN}" in text for text in texts)  # the file that is not UTF-8


def test_trunk_and_tail_are_the_whole_network(news: ImageDataset, backbone: Backbone) -> None:
    """Against transformers' own BertModel, its tokenizer's mask, and the mean over the tokens."""
    from transformers import AutoModel, AutoTokenizer

    file = backbones.get("minilm-l6").where()
    assert file is not None
    model = AutoModel.from_pretrained(file.parent, local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(file.parent, local_files_only=True)
    texts = [*news.test_x[:3].tolist(), "Short.", ""]
    encoded = tokenizer(texts, truncation=True, max_length=TOKENS, padding="max_length", return_tensors="pt")
    with torch.no_grad():
        hidden = model(**encoded).last_hidden_state
        there = encoded["attention_mask"][..., None]
        expected = (hidden * there).sum(1) / there.sum(1)
        got = output(backbone, np.array(texts))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    assert Tail(backbone.tail).d == 2 * (4 * 384 * 384 + 2 * 384 * 1536)


def output(backbone: Backbone, texts: np.ndarray) -> Tensor:
    assert backbone.tokenize is not None
    with torch.no_grad():
        return Tail(backbone.tail)(backbone.trunk(backbone.tokenize(texts)))


def test_a_run_on_text_is_a_run_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DELTAMASK_CACHE", str(tmp_path))
    start, end = simulate(small())
    assert start.accuracy > 0.5  # its head, from 40 articles; guessing is right for one in five
    assert end.accuracy > 0.6
    assert end.flips is not None
    assert end.flips > 0
    assert end.false_flips == 0
    d = load_task(small()).d
    assert end.bpp_up == pytest.approx(8 * end.uplink_bytes / d / 2)
    assert sum(end.kept_by_layer.values()) > 0  # type: ignore[union-attr]


def test_images_and_texts_are_not_mixed_up() -> None:
    with pytest.raises(BackboneError, match="minilm-l6 reads texts, and dataset digits holds images"):
        load_task(small(dataset="digits"))
    with pytest.raises(BackboneError, match="efficientnet_lite0 reads images, and dataset bbc-news holds texts"):
        load_task(small(backbone="efficientnet_lite0"))


def test_too_many_masked_layers_are_refused() -> None:
    with pytest.raises(BackboneError, match="masked_blocks = 6: minilm-l6 has 6 blocks"):
        backbones.build("minilm-l6", 6)
