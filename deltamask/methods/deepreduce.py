"""DeepReduce (arXiv 2102.03112) over mask updates: the set of changed positions, in a Bloom filter under policy P0.

The set coded is all of Δ, the positions where the client's mask differs from the global one under the same public u: no
κ, no ranking. DeepReduce splits a sparse tensor into indices and values; here a value is one bit, "flipped", so that
what its policy P0 sends for each positive of the filter is one bit as well: true or false positive. The set arrives
exactly. Aggregation is the Beta posterior, as in the paper's comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from deltamask.codecs import codecs
from deltamask.config import RunConfig
from deltamask.downlink import Memory
from deltamask.methods import masked
from deltamask.methods.base import Method, Receipt, Upload, methods
from deltamask.methods.deltamask import receive_flips, send_flips
from deltamask.methods.masked import MaskState
from deltamask.task.task import Task

CODEC = "bloom-p0"


def client_update(task: Task, config: RunConfig, round: int, client: int, memory: Memory) -> Upload:
    """Train the scores, send every flip."""
    return send_flips(task, config, codecs[CODEC], 1.0, round, client, memory)


def server_update(
    config: RunConfig,
    state: MaskState,
    round: int,
    payloads: Iterable[tuple[int, bytes]],
    on_receipt: Callable[[Receipt], None],
) -> MaskState:
    """Ask the filters for all positions, take their verdicts, fold the masks into the posterior."""
    return receive_flips(config, codecs[CODEC], state, round, payloads, on_receipt)


methods.register("deepreduce")(
    Method(
        MaskState,
        masked.init,
        masked.broadcast,
        masked.receive,
        client_update,
        server_update,
        masked.effective,
        masked.snapshot,
    )
)
