"""The headline figures of a run, each defined once, for whoever shows it: the page, `show`, `export`, reports, results.

A figure is a function of a run's rounds, a table with one row a round, the head's round 0 included. It is NaN where
there is nothing to compute it from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from deltamask.simulation.records import LAST

if TYPE_CHECKING:
    import pandas as pd

Figure = Callable[["pd.DataFrame"], float]
Accuracies = npt.NDArray[np.float64]  # (N,), one a client

# Of a record, what is not one figure a round.
LISTS = ("clients", "class_accuracy", "client_accuracy", "client_accuracy_adapted", "alone", "hits", "metrics")
OWN = "metric_"  # begins the column of an own metric, so that none takes the place of another


def tenth(accuracies: Accuracies) -> int:
    """How many clients a tenth of them is: at least one, and never more than a tenth otherwise."""
    return max(1, len(accuracies) // 10)


def jain(accuracies: Accuracies) -> float:
    """Jain's index, (Σx)²/(n·Σx²): 1 where all fare alike, 1/n where one has everything; NaN where all have nothing."""
    squares = len(accuracies) * float(np.square(accuracies).sum())
    return float(accuracies.sum()) ** 2 / squares if squares else float("nan")


# How evenly a model serves its clients, from its accuracy for each of them.
FAIRNESS: dict[str, Callable[[Accuracies], float]] = {
    "worst": lambda accuracies: float(accuracies.min()),
    "worst_tenth": lambda accuracies: float(np.sort(accuracies)[: tenth(accuracies)].mean()),
    "best_tenth": lambda accuracies: float(np.sort(accuracies)[-tenth(accuracies) :].mean()),
    "spread": lambda accuracies: float(np.std(accuracies)),
    "jain": jain,
}
# What its clients gain by joining, from that and from the accuracy that each reaches alone.
JOINING: dict[str, Callable[[Accuracies, Accuracies], float]] = {
    "better_than_alone": lambda joined, alone: float((joined > alone).mean()),
    "worse_than_alone": lambda joined, alone: float((joined < alone).mean()),
    "gain_over_alone": lambda joined, alone: float((joined - alone).mean()),
}


def fairness(joined: Sequence[float] | None, alone: Sequence[float] | None = None) -> dict[str, float]:
    """Every figure of FAIRNESS and JOINING, NaN where there is nothing to compute it from."""
    found = dict.fromkeys([*FAIRNESS, *JOINING], float("nan"))
    if joined:
        values = np.array(joined, np.float64)
        found |= {name: figure(values) for name, figure in FAIRNESS.items()}
        if alone and len(alone) == len(joined):
            found |= {name: figure(values, np.array(alone, np.float64)) for name, figure in JOINING.items()}
    return found


def unlikeness(label_counts: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """(N,) how unlike the others each client is, from (N, classes) samples: the total variation distance, ½·Σ|p_k − p|,
    between its label shares and those of all samples together. 0: the same mix; 1: no class in common."""
    counts = np.asarray(label_counts, np.float64)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    distances: npt.NDArray[np.float64] = np.abs(shares - counts.sum(0) / max(1.0, counts.sum())).sum(1) / 2
    return distances


def rounds_table(records: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """One row a round, without the lists of clients and classes.

    bpp_up, bpp_down, bpp_total (both together): bits per parameter and client of the round. With `_total` behind it:
    summed over the rounds, round 0 included; with `_mean`: their mean over the rounds after 0 (NaN in round 0).
    accuracy_worst, accuracy_spread: over all clients, or where a record does not say that, over those sampled. The
    columns of OF_CLIENTS: figures of the accuracies of all clients, NaN where a record does not have them. Own metrics
    have columns of their own, `metric_NAME`.
    """
    rows = [{name: value for name, value in record.items() if name not in LISTS} for record in records]
    alone = records[0].get("alone") if records else None
    for row, record in zip(rows, records, strict=True):
        found = {field: fairness(record.get(field), alone) for field in ("client_accuracy", "client_accuracy_adapted")}
        row |= {name: found[field][figure] for name, (field, figure) in OF_CLIENTS.items()}
        row |= {f"{OWN}{name}": value for name, value in (record.get("metrics") or {}).items()}
        if row["accuracy_worst"] is None and record["clients"]:
            present = [client["accuracy"] for client in record["clients"]]
            row |= {"accuracy_worst": min(present), "accuracy_spread": float(np.std(present))}
    import pandas as pd  # half a second, which not every command has a use for

    frame = pd.DataFrame(rows)
    if len(frame):
        for name in ("bpp_up", "bpp_down", "bpp_total"):
            frame[f"{name}_total"] = frame[name].cumsum()
            frame[f"{name}_mean"] = frame[name].where(frame["round"] > 0).expanding().mean()
    return frame


def own_metrics(rounds: pd.DataFrame) -> list[str]:
    """The names of a run's own metrics."""
    return [str(column).removeprefix(OWN) for column in rounds if str(column).startswith(OWN)]


def covers_all_clients(records: Sequence[dict[str, Any]]) -> bool:
    """Is `accuracy_worst` that of all clients in every round? Earlier revisions recorded the sampled ones alone."""
    return all(record["accuracy_worst"] is not None for record in records)


def after_head(rounds: pd.DataFrame) -> pd.DataFrame:
    """The rounds after the head's round 0."""
    return rounds[rounds["round"] > 0]


def last(count: int, field: str) -> Figure:
    """Mean over the last `count` rounds, or those of them in which it was measured; round 0 counts only as long as
    there is no other."""

    def figure(rounds: pd.DataFrame) -> float:
        after = after_head(rounds)
        return float((after if len(after) else rounds)[field].astype(float).tail(count).mean())

    return figure


def a_round(field: str) -> Figure:
    """Mean over the rounds after the head's."""
    return lambda rounds: float(after_head(rounds)[field].astype(float).mean())


def in_all(field: str) -> Figure:
    """Sum over all rounds, the head's included."""
    return lambda rounds: float(rounds[field].cumsum().iloc[-1])


def with_head(*ways: str) -> Figure:
    """bpp of everything, the head's round first, spread over the rounds after it and the clients of a usual one.

    ways: `up`, `down`, summed. 8 · bytes / bpp of a round is d times the clients that its messages were from or to; a
    round in which all clients answer, for the head, is no usual one.
    """

    def figure(rounds: pd.DataFrame) -> float:
        total = 0.0
        for way in ways:
            sent = rounds[f"{way}link_bytes"].astype(float)
            messages = (8 * sent / rounds[f"bpp_{way}"].astype(float))[rounds["round"] > 0]
            total += 8 * sent.sum() / (messages.median() * len(messages)) if len(messages) else np.nan
        return float(total)

    return figure


def megabytes_a_client(*fields: str) -> Figure:
    """Megabytes in all, spread over the N `clients` of the run, sampled or not."""
    return lambda rounds: float((sum(rounds[field] for field in fields) / rounds["clients"]).sum() / 1e6)


# Columns of a run's table that are figures of a record's list: (the list, the figure).
OF_CLIENTS = {
    "accuracy_worst_tenth": ("client_accuracy", "worst_tenth"),
    "accuracy_best_tenth": ("client_accuracy", "best_tenth"),
    "accuracy_jain": ("client_accuracy", "jain"),
    "better_than_alone": ("client_accuracy", "better_than_alone"),
    "gain_over_alone": ("client_accuracy", "gain_over_alone"),
    "better_than_alone_adapted": ("client_accuracy_adapted", "better_than_alone"),
    "gain_over_alone_adapted": ("client_accuracy_adapted", "gain_over_alone"),
}

# What a study measures of a run. Its tables have these columns, besides those of a record: clients, N; dropped, how
# many clients' payloads were lost or could not be used.
MEASURES: dict[str, Figure] = {
    "accuracy": last(LAST, "accuracy"),
    "accuracy_end": last(3, "accuracy"),
    "accuracy_threshold": last(LAST, "accuracy_threshold"),
    "accuracy_worst": last(LAST, "accuracy_worst"),
    "accuracy_spread": last(LAST, "accuracy_spread"),
    **{name: last(LAST, name) for name in OF_CLIENTS},
    "bpp_up": a_round("bpp_up"),
    "bpp_down": a_round("bpp_down"),
    "bpp_total": a_round("bpp_total"),
    "bpp_up_all": with_head("up"),
    "bpp_total_all": with_head("up", "down"),
    "megabytes_up": megabytes_a_client("uplink_bytes"),
    "megabytes_down": megabytes_a_client("downlink_bytes"),
    "megabytes": megabytes_a_client("uplink_bytes", "downlink_bytes"),
    "kept": a_round("kept"),
    "false_flips": a_round("false_flips"),
    "dropped": in_all("dropped"),
}

# What is said of a single run.
SUMMARY: dict[str, Figure] = {
    "accuracy": MEASURES["accuracy"],
    "worst_client": MEASURES["accuracy_worst"],
    "bpp_up": MEASURES["bpp_up"],
    "bpp_down": MEASURES["bpp_down"],
    "bpp_total": MEASURES["bpp_total"],
    "bpp_up_all": MEASURES["bpp_up_all"],
    "bpp_total_all": MEASURES["bpp_total_all"],
    "bpp_up_total": in_all("bpp_up"),
    "bpp_down_total": in_all("bpp_down"),
    "bpp_total_total": in_all("bpp_total"),
}


def summary(rounds: pd.DataFrame) -> dict[str, Any]:
    """`rounds`, the last round; every figure of SUMMARY, None where it is NaN; and the bytes of all clients."""
    if not len(rounds):
        return {"rounds": 0, **dict.fromkeys(SUMMARY), "uplink_bytes": 0, "downlink_bytes": 0}
    figures = {name: figure(rounds) for name, figure in SUMMARY.items()}
    return {
        "rounds": int(rounds["round"].max()),
        **{name: value if np.isfinite(value) else None for name, value in figures.items()},
        "uplink_bytes": int(rounds["uplink_bytes"].sum()),
        "downlink_bytes": int(rounds["downlink_bytes"].sum()),
    }
