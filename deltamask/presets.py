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
    "fashion-fedpm": RunConfig(method="fedpm"),
    "fashion-probe": RunConfig(method="linear-probe"),
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
