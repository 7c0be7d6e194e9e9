"""The paper's study as presets, `paper:BACKBONE:DATASET`, each field marked *from the paper* or *our choice*.

`python -m deltamask.config.paper` writes the table that is docs/paper.md.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from deltamask.config import RunConfig

# The paper counts five backbones: it has DINOv2 in two sizes, and we offer all three.
BACKBONES = ("clip-vit-b32", "clip-vit-l14", "dinov2-small", "dinov2-base", "dinov2-large", "convmixer-768-32")
DATASETS = ("cifar-10", "cifar-100", "svhn", "emnist", "fashion-mnist", "eurosat", "food-101", "cars196")

PREFIX = "paper:"
PAPER, OURS = "from the paper", "our choice"


class PaperValue(NamedTuple):
    """A field's value, where it comes from, and why."""

    value: Any
    source: str
    why: str


SETTINGS: dict[str, PaperValue] = {
    "method": PaperValue("deltamask", PAPER, "the others of the comparison: `--method`"),
    "masked_blocks": PaperValue(5, PAPER, "the last five blocks"),
    "clients": PaperValue(30, PAPER, ""),
    "rho": PaperValue(1.0, PAPER, "the paper has 1 and 0.2"),
    "dirichlet_alpha": PaperValue(10.0, PAPER, "the paper has 10 (close to IID) and 0.1"),
    "local_epochs": PaperValue(1, PAPER, ""),
    "lr": PaperValue(0.1, PAPER, "of Adam on the scores"),
    "kappa": PaperValue(0.8, PAPER, "κ₀"),
    "kappa_schedule": PaperValue("cosine", PAPER, ""),
    "codec": PaperValue("bfuse8", PAPER, "8 bits per entry"),
    "aggregation": PaperValue("beta", PAPER, "priors start afresh every ⌈1/ρ⌉ rounds"),
    "noise": PaperValue("shared", PAPER, "as we read its publicly shared seed"),
    "image_size": PaperValue(224, OURS, "what CLIP was trained on; 16 patches of 14 px for DINOv2"),
    "train_samples": PaperValue(10_000_000, OURS, "all there are"),
    "test_samples": PaperValue(10_000_000, OURS, "all there are"),
    "min_client_samples": PaperValue(8, OURS, "no client is left without data"),
    "rounds": PaperValue(100, OURS, "with `--rho 0.2`, three times as many see as much data"),
    "batch_size": PaperValue(64, OURS, ""),
    "lr_schedule": PaperValue("constant", OURS, ""),
    "theta_init": PaperValue(0.95, OURS, "a network with batch norm breaks at 0.5"),
    "probe_epochs": PaperValue(10, OURS, "of the one round of linear probing, which is the paper's"),
    "probe_lr": PaperValue(0.001, OURS, ""),
}  # fmt: skip


def names() -> list[str]:
    """Every preset: a backbone times a dataset."""
    return [f"{PREFIX}{backbone}:{dataset}" for backbone in BACKBONES for dataset in DATASETS]


def preset(name: str) -> RunConfig:
    """The config called `paper:BACKBONE:DATASET`. KeyError says which parts exist."""
    backbone, _, dataset = name.removeprefix(PREFIX).partition(":")
    if backbone not in BACKBONES or dataset not in DATASETS:
        raise KeyError(
            f"unknown preset {name!r}; paper:BACKBONE:DATASET has the backbones {', '.join(BACKBONES)} and the "
            f"datasets {', '.join(DATASETS)}"
        )
    values = {field: paper.value for field, paper in SETTINGS.items()}
    return RunConfig(backbone=backbone, dataset=dataset, **values)


def document() -> str:
    """docs/paper.md."""
    rows = [f"| `{name}` | {value} | {source} | {why} |" for name, (value, source, why) in SETTINGS.items()]
    command = f"deltamask run --preset {PREFIX}{BACKBONES[0]}:{DATASETS[0]}"
    return PAGE.format(
        backbones=", ".join(f"`{name}`" for name in BACKBONES),
        datasets=", ".join(f"`{name}`" for name in DATASETS),
        rows="\n".join(rows),
        commands="\n".join(f"{command} {variant}".rstrip() for variant in VARIANTS),
    )


VARIANTS = ("", "--dirichlet-alpha 0.1", "--rho 0.2 --rounds 300", "--method fedpm", "--weights random --rounds 1")

PAGE = """<!-- Written by `python -m deltamask.config.paper > docs/paper.md`. -->

# The paper's study

`deltamask run --preset paper:BACKBONE:DATASET` runs DeltaMask as the paper (arXiv 2311.17299) does, on a machine with a
GPU and a network: `deltamask doctor` says which backbones and datasets are here and how to get the others.

- backbones: {backbones}
- datasets: {datasets}

Where the paper is silent, or we do not know what it says, the choice is ours. Fields that are not listed have
`deltamask run`'s defaults, which are ours too.

| field | value | source | |
|---|---|---|---|
{rows}

Its variants, and a try without the weights:

```
{commands}
```
"""

if __name__ == "__main__":
    print(document(), end="")
