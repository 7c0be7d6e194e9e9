"""Named configs: `deltamask run --preset NAME`."""

from __future__ import annotations

from deltamask import paper
from deltamask.config import RunConfig

PRESETS: dict[str, RunConfig] = {
    # The default task: DeltaMask with per-client noise and the paper's Beta aggregation.
    "fashion": RunConfig(),
    # The paper's form: one public u for all clients.
    "fashion-paper": RunConfig(noise="shared"),
    # Our estimator of mean θ_k.
    "fashion-unbiased": RunConfig(aggregation="unbiased"),
    # The same as `fashion`, sent exactly and in a quarter of the bits.
    "fashion-gap": RunConfig(codec="gap"),
    # Our three options and what else a search on held-out images found (docs/results.md).
    "fashion-recipe": RunConfig(
        rounds=40,
        lr=0.3,
        lr_schedule="cosine",
        adam_eps=1e-5,
        aggregation="unbiased",
        server_lr=2.0,
        kappa=0.5,
        codec="gap",
    ),
    "fashion-fedpm": RunConfig(method="fedpm"),
    "fashion-probe": RunConfig(method="linear-probe"),
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
