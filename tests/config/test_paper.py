"""The paper's study as presets."""

from __future__ import annotations

from pathlib import Path

import pytest

from deltamask import backbones, datasets
from deltamask.config import RunConfig, paper
from deltamask.config.presets import preset


def test_every_preset_names_a_backbone_and_a_dataset_that_are_registered() -> None:
    assert len(paper.names()) == len(set(paper.names())) == len(paper.BACKBONES) * 8
    for name in paper.names():
        config = preset(name)
        assert name == f"paper:{config.backbone}:{config.dataset}"
        assert config.backbone in backbones.names()
        assert config.dataset in datasets.names()


def test_what_is_known_from_the_paper_is_marked_so_and_nothing_else() -> None:
    known = {
        "method": "deltamask", "masked_blocks": 5, "clients": 30, "rho": 1.0, "dirichlet_alpha": 10.0,
        "local_epochs": 1, "lr": 0.1, "kappa": 0.8, "kappa_schedule": "cosine", "codec": "bfuse8",
        "aggregation": "beta", "noise": "shared",
    }  # fmt: skip
    told = {name: setting.value for name, setting in paper.SETTINGS.items() if setting.source == paper.PAPER}
    assert told == known
    assert {setting.source for setting in paper.SETTINGS.values()} == {paper.PAPER, paper.OURS}
    config = preset(paper.names()[0])
    assert {name: getattr(config, name) for name in known} == known
    assert set(paper.SETTINGS) < set(RunConfig.model_fields)


def test_an_unknown_part_is_answered_with_those_that_exist() -> None:
    for name in ("paper:", "paper:resnet:svhn", "paper:clip-vit-b32", "paper:clip-vit-b32:mnist"):
        with pytest.raises(KeyError, match=r"backbones clip-vit-b32, .* and the datasets cifar-10"):
            preset(name)


def test_the_document_is_what_the_command_writes() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "paper.md"
    assert page.read_text() == paper.document(), "python -m deltamask.config.paper > docs/paper.md"
