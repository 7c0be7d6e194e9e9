"""Exercises of notebook 9: a partition, and what two random choices have in common."""

from __future__ import annotations

import numpy as np

from deltamask.teaching.checks import Answer, Hint, ask, exercises, not_this, same


@exercises.register("growing")
def _growing(answer: Answer) -> str:
    for samples, clients in ((100, 5), (37, 3), (10, 1)):
        shards = ask(answer, np.zeros(samples, np.int64), clients)
        if not isinstance(shards, list | tuple) or len(shards) != clients:
            raise Hint(f"A list of {clients} arrays is asked for, one a client.")
        same([len(shard) for shard in shards], _sizes(samples, clients), "Client k ends where client k + 1 begins.")
        same(np.concatenate(shards), np.arange(samples), "Every sample to exactly one client, in their order.")
    return "Five clients of 100 samples hold 4, 12, 20, 28 and 36: differences of size without any of labels."


def _sizes(samples: int, clients: int) -> list[int]:
    ends = [samples * k * k // clients**2 for k in range(clients + 1)]
    return np.diff(ends).tolist()


@exercises.register("chance_overlap")
def _chance_overlap(answer: Answer) -> str:
    for count, d in ((100, 1000), (5_000, 1_000_000), (10, 10)):
        got, both = ask(answer, count, d), count * count / d
        if count < d:
            not_this(got, count / d, "That is the share of one client's positions that the other sent too.")
            not_this(got, both / (2 * count), "What both sent is counted twice in 2 · count: take it off once.")
        same(got, both / (2 * count - both), "count · count / d positions are in both; how many are in either?")
    return "About count / 2d: two clients that share more than this do so because they learnt the same."
