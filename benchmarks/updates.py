"""Bits, error and time of every update codec: the tables of docs/updates.md.

    python benchmarks/updates.py [--seed 0]
    python benchmarks/updates.py --quick        # does it run? short vectors, nothing written

Writes benchmarks/results/updates.json and prints the tables. Times are of one thread's own work (thread_time), the best
of five.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tyro
from timing import RESULTS, best_of, store

from deltamask.codecs.updates import UpdateContext, updates

ORDER = ("fp32", "fp16", "signsgd", "qsgd", "drive", "eden4", "eden1", "eden0.5")
LENGTHS = {"tail": 1_009_792, "adapter": 10_000}  # the default task's weights; what a small LoRA sends
QUICK_LENGTHS = {"tail": 5_000, "adapter": 1_000}
VECTORS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "Gaussian": lambda rng, n: rng.normal(0, 1e-3, n),
    "Student t(3)": lambda rng, n: 1e-3 * rng.standard_t(3, n),
}
CLIENTS, REPEATS = 16, 5


def nmse(decoded: np.ndarray, values: np.ndarray) -> float:
    """‖x̂ − x‖² / ‖x‖²."""
    return float(np.square(decoded - values, dtype=np.float64).sum() / np.square(values, dtype=np.float64).sum())


def measure(name: str, values: np.ndarray, seed: int) -> dict[str, float]:
    """One codec on one vector: bits a value, error of one client, error of the mean of CLIENTS that send the same."""
    codec, n = updates[name], len(values)
    total, errors, sent = np.zeros(n), [], 0
    for client in range(CLIENTS):
        at = UpdateContext(seed, 1, client)
        payload = codec.encode(values, at)
        decoded = codec.decode(payload, n, at)
        sent += len(payload)
        errors.append(nmse(decoded, values))
        total += decoded
    return {"bits": 8 * sent / CLIENTS / n, "nmse": float(np.mean(errors)), "mean": nmse(total / CLIENTS, values)}


def speed(name: str, values: np.ndarray, seed: int) -> dict[str, float]:
    """Nanoseconds a value."""
    codec, n, at = updates[name], len(values), UpdateContext(seed, 1, 0)
    payload = codec.encode(values, at)
    encode = best_of(lambda: codec.encode(values, at), REPEATS, time.thread_time)
    decode = best_of(lambda: codec.decode(payload, n, at), REPEATS, time.thread_time)
    return {"encode_ns": 1e9 * encode / n, "decode_ns": 1e9 * decode / n}


def tables(results: dict[str, Any]) -> str:
    """Markdown."""
    lines = []
    for length, n in results["lengths"].items():
        lines.append(f"\nn = {n:,}\n")
        heads = [f"{label}: bits a value | error | of the mean of {CLIENTS}" for label in VECTORS]
        heads += ["encode, ns | decode, ns"] if length == "tail" else []
        lines.append("| codec | " + " | ".join(heads) + " |")
        lines.append("|---" * (1 + sum(head.count("|") + 1 for head in heads)) + "|")
        for name in ORDER:
            row = results["codecs"][name]
            cells = [f"{r['bits']:.3f} | {r['nmse']:.3g} | {r['mean']:.3g}" for r in row[length].values()]
            cells += [f"{row['speed']['encode_ns']:.1f} | {row['speed']['decode_ns']:.1f}"] if length == "tail" else []
            lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(seed: int = 0, quick: bool = False) -> None:
    """Measure, store and print.

    Args:
        seed: of the vectors and of what is drawn in coding them.
        quick: short vectors; nothing is written.
    """
    lengths = QUICK_LENGTHS if quick else LENGTHS
    rows: dict[str, dict[str, Any]] = {name: {} for name in ORDER}
    for length, n in lengths.items():
        for label, make in VECTORS.items():
            values = make(np.random.default_rng(seed), n).astype(np.float32)
            for name in ORDER:
                rows[name].setdefault(length, {})[label] = measure(name, values, seed)
                if length == "tail" and label == "Gaussian":
                    rows[name]["speed"] = speed(name, values, seed)
    results = {"seed": seed, "clients": CLIENTS, "lengths": lengths, "codecs": rows}
    store(results, None if quick else RESULTS / "updates.json")
    print(tables(results))


if __name__ == "__main__":
    tyro.cli(main)
