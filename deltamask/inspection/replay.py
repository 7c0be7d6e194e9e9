"""θ_g as it was before a round, rebuilt from the downlink messages that a run kept. Needs no torch."""

from __future__ import annotations

from deltamask import downlink
from deltamask.downlink import ThetaMemory
from deltamask.masking.masks import Theta
from deltamask.methods import methods
from deltamask.runs import StoreError
from deltamask.runs.reader import Run


def memory_before(run: Run, round: int) -> ThetaMemory:
    """What a client that has taken part in every round holds when it starts `round`'s local work.

    Raises StoreError if the run does not send θ_g, or has not kept what is needed; DecodeError if a message is damaged.
    """
    law = methods[run.config.method].masks
    if law is None:
        raise StoreError(f"{run.config.method} sends no θ_g")
    d, head_size = (run.task.get(name) for name in ("d", "head_size"))
    if type(d) is not int or type(head_size) is not int:
        raise StoreError(f"{run.path / 'task.json'} is missing or damaged")
    memory: ThetaMemory | None = None
    for past in range(1, round + 1) if run.config.downlink == "counts" else (round,):
        file = run.path / "payloads" / f"r{past:04d}-down.bin"
        try:
            message = file.read_bytes()
        except OSError:
            raise StoreError(
                f"{run.id} has not kept the broadcast of round {past}: keep_payloads = few keeps those up to a "
                "megabyte, all keeps all"
            ) from None
        memory = downlink.receive(law, run.config, d, head_size, past, message, memory)
    assert memory is not None
    return memory


def theta_before(run: Run, round: int) -> Theta:
    """θ_g (d,) when `round` (from 1) starts; errors as `memory_before`."""
    return memory_before(run, round).theta
