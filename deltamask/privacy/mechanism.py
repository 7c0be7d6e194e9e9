"""The two random parts of a noisy step: which samples are in its batch, and the noise. Both keyed, as all randomness.

Who knows the seed knows the noise: that makes a run repeatable, and the promise one about simulations. Over a real
network each client would have to keep its own noise to itself, so there it is refused (`flower_app/`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from deltamask.masking import noise


def poisson_batches(
    shard: npt.NDArray[np.int64], rate: float, steps: int, rng: np.random.Generator
) -> Iterator[npt.NDArray[np.int64]]:
    """So many batches, each with every sample of the shard at the chance `rate`, independently. Some may be empty."""
    for _ in range(steps):
        yield shard[rng.random(len(shard)) < rate]


class Noise:
    """Gaussian noise of one client in one round; of the server where no client is named. deviation: σ·C."""

    def __init__(self, deviation: float, seed: int, purpose: str, *, round: int, client: int | None = None) -> None:
        self.deviation = deviation
        self._rng = noise.generator(seed, purpose, round=round, client=client)

    def draw(self, size: int) -> npt.NDArray[np.float32]:
        """(size,) new values."""
        return self._rng.standard_normal(size, np.float32) * np.float32(self.deviation)

    def added_to(self, values: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        """Whole numbers with new noise on each, rounded, which spends nothing more."""
        return values + np.rint(self.draw(values.size)).astype(np.int64).reshape(values.shape)
