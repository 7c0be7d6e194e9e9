"""DeepReduce (arXiv 2102.03112) over mask updates: the set of changed positions, in a Bloom filter under policy P0.

The set coded is all of Δ, the positions where the client's mask differs from the global one under the same public u: no
κ, no ranking. DeepReduce splits a sparse tensor into indices and values; here a value is one bit, "flipped", so that
what its policy P0 sends for each positive of the filter is one bit as well: true or false positive. The set arrives
exactly. Aggregation is the Beta posterior, as in the paper's comparison.

The Bloom filter knows nothing of where flips are likely. With `side_information` the set is sent by `gap` instead,
which is given u and θ_g; what is left is DeltaMask with Beta aggregation and κ 1.
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
from deltamask.methods.fedpm import variant

if TYPE_CHECKING:
    from deltamask.task.task import Task

LAW = MaskLaw(public=True, damped=True)


def codec_of(config: RunConfig) -> str:
    """The codec that the flips are sent in."""
    return "gap" if config.side_information == "on" else "bloom-p0"


def client_update(task: Task, config: RunConfig, round: int, client: int, memory: ThetaMemory) -> Upload:
    """Train the scores, send every flip."""
    return send_flips(task, config, codecs[codec_of(config)], 1.0, round, client, memory)


methods.register("deepreduce")(
    masked.method(
        "DeepReduce",
        "Clients send every changed position in a Bloom filter, made exact by a bit for each of its positives.",
        LAW,
        client_update,
        partial(receive_flips, LAW, codec_of),
        sends="flips",
        reads=("noise", "check_flips", "side_information", "server_lr", "smoothing"),
        variant=partial(variant, known="u and θ_g"),
        flip_codec=codec_of,
        color="#287a58",
        marker="diamond",
    )
)
