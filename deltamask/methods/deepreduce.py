"""DeepReduce (arXiv 2102.03112) over mask updates: the set of changed positions, in a Bloom filter under policy P0.

The set coded is all of Δ, the positions where the client's mask differs from the global one under the same public u: no
κ, no ranking. DeepReduce splits a sparse tensor into indices and values; here a value is one bit, "flipped", so that
what its policy P0 sends for each positive of the filter is one bit as well: true or false positive. The set arrives
exactly. Aggregation is the Beta posterior, as in the paper's comparison.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from deltamask.codecs import codecs
from deltamask.config import RunConfig
from deltamask.downlink import MaskLaw, ThetaMemory
from deltamask.methods import masked
from deltamask.methods.base import Upload, methods
from deltamask.methods.deltamask import receive_flips, send_flips

if TYPE_CHECKING:
    from deltamask.task.task import Task

CODEC = "bloom-p0"
LAW = MaskLaw(public=True)


def codec_of(config: RunConfig) -> str:
    """Always the same."""
    return CODEC


def client_update(task: Task, config: RunConfig, round: int, client: int, memory: ThetaMemory) -> Upload:
    """Train the scores, send every flip."""
    return send_flips(task, config, codecs[CODEC], 1.0, round, client, memory)


methods.register("deepreduce")(
    masked.method(
        "DeepReduce",
        "Clients send every changed position in a Bloom filter, made exact by a bit for each of its positives.",
        LAW,
        client_update,
        partial(receive_flips, LAW, codec_of),
        sends="flips",
        reads=("noise", "check_flips"),
        flip_codec=codec_of,
        color="#287a58",
        marker="diamond",
    )
)
