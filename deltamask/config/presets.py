"""Named configs: `deltamask run --preset NAME`."""

from __future__ import annotations

from typing import Any

from deltamask.config import RunConfig, paper

# How the recorded runs train, whatever they send: chosen on held-out images (docs/results.md).
TUNED: dict[str, Any] = {"rounds": 40, "lr": 0.3, "lr_schedule": "cosine"}
RECIPE: dict[str, Any] = {"aggregation": "unbiased", "codec": "gap", "kappa": 0.5, "server_lr": 2.0, "adam_eps": 1e-5}

# Clients that differ: few classes each, a fifth of them a round, under the head that follows from everybody's sums
# (experiments/noniid-exact.toml).
DIFFERING: dict[str, Any] = {
    **TUNED, "clients": 30, "rho": 0.2, "dirichlet_alpha": 0.1, "head_init": "gram", "local_loss": "balanced",
    "keep_payloads": "none",
}  # fmt: skip
MASKS: dict[str, Any] = {"aggregation": "unbiased", "codec": "gap", "adam_eps": 1e-5}
FROM_MEANS: dict[str, Any] = {"head_init": "cof", "head_means": 16, "head_fraction_bits": 0}


def differing(**changes: Any) -> RunConfig:
    """A run with clients that differ."""
    return RunConfig(**(DIFFERING | changes))


PRESETS: dict[str, RunConfig] = {
    # The default task: DeltaMask with per-client noise and the paper's Beta aggregation and filter.
    "fashion": RunConfig(**TUNED),
    # The paper's form: one public u for all clients, κ falling from 0.8.
    "fashion-paper": RunConfig(**TUNED, noise="shared", kappa=0.8, kappa_schedule="cosine"),
    # Our estimator of mean θ_k.
    "fashion-unbiased": RunConfig(**TUNED, aggregation="unbiased"),
    # The same as `fashion`, sent exactly and in a fraction of the bits.
    "fashion-gap": RunConfig(**TUNED, codec="gap"),
    # Our three options together, and what else a search on held-out images found.
    "fashion-recipe": RunConfig(**TUNED, **RECIPE),
    "fashion-fedpm": RunConfig(**TUNED, method="fedpm"),
    "fashion-deepreduce": RunConfig(**TUNED, method="deepreduce"),
    "fashion-finetune": RunConfig(**TUNED, method="finetune", keep_payloads="none"),
    "fashion-eden": RunConfig(**TUNED, method="eden", keep_payloads="none"),
    "fashion-lora-eden4": RunConfig(
        **TUNED, method="lora", weight_lr=0.003, update_codec="eden4", keep_payloads="none"
    ),
    "fashion-probe": RunConfig(**TUNED, method="linear-probe", keep_payloads="none"),
    # Clients that differ. `refit` finds the head again, `cof` makes it from class means.
    "noniid-head": differing(method="head-only", local_loss="cross_entropy"),
    "noniid-recipe": differing(**MASKS, lr=0.03, keep_payloads="few"),
    "noniid-recipe-refit": differing(**MASKS, lr=0.1, head_refit=30),
    "noniid-finetune": differing(method="finetune", local_loss="cross_entropy", weight_lr=0.0001),
    "noniid-finetune-refit": differing(method="finetune", weight_lr=0.0003, head_refit=30),
    "noniid-fedpm": differing(method="fedpm", local_loss="cross_entropy", lr=0.1),
    "noniid-lora": differing(method="lora", update_codec="eden4", weight_lr=0.0003),
    "noniid-probe": differing(method="linear-probe", probe_lr=0.0001),
    "noniid-cof": differing(method="head-only", local_loss="cross_entropy", **FROM_MEANS),
    "noniid-recipe-cof": differing(**MASKS, lr=0.03, **FROM_MEANS),
    # Text: the last of MiniLM's layers on news articles. Small batches, since a client holds some 340 articles.
    "bbc-news": RunConfig(
        backbone="minilm-l6",
        dataset="bbc-news",
        aggregation="unbiased",
        lr_schedule="cosine",
        rounds=15,
        batch_size=32,
        probe_lr=0.01,
    ),
    # A vision transformer: the last two blocks of a ViT-S/14 derived from DINOv2, some minutes on two cores.
    "vit": RunConfig(
        **{**TUNED, "rounds": 15},
        **RECIPE,
        backbone="dinov2-small-focus",
        masked_blocks=2,
        image_size=98,
        train_samples=3000,
        test_samples=1000,
        feature_precision="float16",
    ),
    # Some seconds of real training: to see something move.
    "quick": RunConfig(train_samples=1000, test_samples=500, rounds=8, keep_payloads="all", probe_epochs=20),
}


def preset(name: str) -> RunConfig:
    """The config called `name`, one of PRESETS or `paper:BACKBONE:DATASET`; KeyError names those that exist."""
    if name.startswith(paper.PREFIX):
        return paper.preset(name)
    if name not in PRESETS:
        raise KeyError(f"unknown preset {name!r}; presets: {', '.join(PRESETS)}, {paper.PREFIX}BACKBONE:DATASET")
    return PRESETS[name]
