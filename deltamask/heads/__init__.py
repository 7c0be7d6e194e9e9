"""Heads: where a run's classifier comes from. `heads` is the registry; importing this package fills it."""

from deltamask.heads import cof, gram, gram_rp, ncm, temperature
from deltamask.heads.base import HeadKind, HeadSettings, Linear, Sender, Statistics, Total, heads

get, names = heads.get, heads.names

__all__ = [
    "HeadKind", "HeadSettings", "Linear", "Sender", "Statistics", "Total", "cof", "get", "gram", "gram_rp", "heads",
    "names", "ncm", "temperature",
]  # fmt: skip
