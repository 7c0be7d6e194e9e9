"""Statistics that cannot be of the same task as the others': the server leaves them out (`robust`).

The mean of n samples lies about √(σ²/n) from its class's. Each client's distance from the median of all clients' means,
times √n, is compared with the median of these distances. Its Gram matrix is compared by its trace a sample.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from deltamask.heads.base import Integers, Statistics

FAR = 4.0  # times the median
FEWEST = 3  # clients that hold a class, to say which one is far off


def far_off(parts: Iterable[tuple[int, Statistics]], classes: int) -> dict[int, str]:
    """The clients whose statistics are not used, and why. Takes (clients, classes, dims) float32 in memory."""
    clients: list[int] = []
    all_means: list[npt.NDArray[np.float32]] = []
    all_counts: list[Integers] = []
    traces: list[float] = []
    for client, part in parts:
        counts = np.zeros(classes, np.int64)
        sums = np.zeros((classes, part.sums.shape[1]))
        np.add.at(counts, part.labels, part.counts)
        np.add.at(sums, part.labels, part.sums)
        with np.errstate(invalid="ignore", divide="ignore"):
            all_means.append((sums / counts[:, None]).astype(np.float32))
        clients.append(client)
        all_counts.append(counts)
        traces.append(np.nan if part.gram is None else float(np.trace(part.gram)) / max(1, int(counts.sum())))
    if len(clients) < FEWEST:
        return {}
    means, held = np.stack(all_means), np.stack(all_counts)
    ratios = np.full(held.shape, np.nan)
    for label in range(classes):
        holders = np.flatnonzero(held[:, label])
        if len(holders) < FEWEST:
            continue
        middle = np.median(means[holders, label], axis=0)
        distance = np.linalg.norm(means[holders, label] - middle, axis=1) * np.sqrt(held[holders, label])
        if typical := float(np.median(distance)):
            ratios[holders, label] = distance / typical
    refused: dict[int, str] = {}
    usual = float(np.median(traces))
    for client, row, trace in zip(clients, ratios, traces, strict=True):
        known = row[np.isfinite(row)]
        if len(known) and known.mean() > FAR:
            refused[client] = f"its class means are {known.mean():.1f} times as far from the others' as is usual"
        elif usual and not np.isnan(trace) and not 1 / FAR <= trace / usual <= FAR:
            refused[client] = f"its Gram matrix is {trace / usual:.2g} times the others'"
    return refused
