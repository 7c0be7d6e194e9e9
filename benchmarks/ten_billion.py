"""A message of ten billion parameters, really encoded and decoded, with θ_g in a file: seconds, bytes, memory.

    python benchmarks/ten_billion.py           (about a quarter of an hour on a core, and 20 GB of disk for θ_g)
    python benchmarks/ten_billion.py --quick   (does it run? d = 10⁶, nothing written)

Neither θ_g nor u is ever held for all of d: codecs take them chunk by chunk, θ_g from the file. A position's θ_g and
θ_k are one of 65,536 pairs drawn as `deltamask bench codecs` draws them; u is the public noise, and a flip is where it
lies between them. Seconds are those of a core.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import tyro
from timing import RESULTS, store

from deltamask.codecs import CodecContext, codecs
from deltamask.codecs.base import CHUNK
from deltamask.masking.masks import ONE, SCORE_CLIP, Positions, Theta, flips, to_fixed
from deltamask.masking.noise import PublicNoise, generator

STORED = RESULTS / "ten_billion.json"
PAIRS = ONE  # of θ_g and θ_k
CODECS = ("gap", "bfuse8")


@dataclass(frozen=True)
class FileTheta:
    """θ_g as a codec reads it, a slice at a time, from a file of 16-bit numbers."""

    path: Path
    d: int

    def __len__(self) -> int:
        return self.d

    def __getitem__(self, part: slice) -> Theta:
        start, stop, _ = part.indices(self.d)
        return np.fromfile(self.path, np.uint16, stop - start, offset=2 * start)


class AnonymousMemory:
    """The most memory that is this process's own within a `with` block, in `bytes`; pages of files do not count."""

    def __enter__(self) -> AnonymousMemory:
        self.bytes, self._done = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.2):
            status = Path("/proc/self/status").read_text()
            self.bytes = max(self.bytes, 1024 * int(status.split("RssAnon:")[1].split()[0]))


def pairs(density: float, seed: int) -> tuple[Theta, Theta]:
    """(PAIRS,) θ_g, and θ_k after a Gaussian step of a width that flips about this share of the positions."""
    draw = generator(seed, "ten billion")
    scores = np.clip(draw.normal(2.9, 1.5, PAIRS), -SCORE_CLIP, SCORE_CLIP)
    steps = draw.standard_normal(PAIRS)
    before = 1 / (1 + np.exp(-scores))

    def after(width: float) -> np.ndarray:
        return 1 / (1 + np.exp(-np.clip(scores + width * steps, -SCORE_CLIP, SCORE_CLIP)))

    low, high = 0.0, 40.0
    for _ in range(40):  # a flip has the probability |θ_k − θ_g|
        middle = (low + high) / 2
        low, high = (middle, high) if np.abs(after(middle) - before).mean() < density else (low, middle)
    return to_fixed(before), to_fixed(after(high))


def make(path: Path, d: int, density: float, seed: int, noise: PublicNoise) -> Positions:
    """Writes θ_g, and returns the flips."""
    theta_g, theta_k = pairs(density, seed)
    parts = []
    with open(path, "wb") as file:
        for start in range(0, d, CHUNK):
            stop = min(d, start + CHUNK)
            which = generator(seed, "ten billion pairs", round=start // CHUNK).integers(
                0, PAIRS, stop - start, np.uint16
            )
            theta_g[which].tofile(file)
            parts.append(flips(theta_k[which], theta_g[which], noise.words(start, stop)) + start)
    return np.concatenate(parts)


def measure(name: str, positions: Positions, context: CodecContext) -> dict[str, Any]:
    """One codec, there and back; what comes back has to hold every flip."""
    codec = codecs[name]
    with AnonymousMemory() as memory:
        begin = time.process_time()
        payload = codec.encode(positions, context)
        encoded = time.process_time()
        decoded = codec.decode(payload, context)
        ended = time.process_time()
    at = np.minimum(np.searchsorted(decoded, positions), len(decoded) - 1)
    if not (decoded[at] == positions).all() or (codec.exact and len(decoded) != len(positions)):
        raise SystemExit(f"{name}: what was decoded is not what was encoded")
    return {
        "codec": name, "bytes": len(payload), "bits_a_flip": 8 * len(payload) / len(positions),
        "bpp": 8 * len(payload) / context.d, "false_flips": len(decoded) - len(positions),
        "encode_s": encoded - begin, "decode_s": ended - encoded, "memory_bytes": memory.bytes,
    }  # fmt: skip


def main(
    d: int = 10**10, density: float = 0.003, seed: int = 0, place: Path | None = None, quick: bool = False
) -> None:
    """Measure, print and store.

    Args:
        d: parameters.
        density: flips, as a share of d; our recipe sends 0.0033.
        seed: of θ_g, the steps and u.
        place: a folder with room for 2·d bytes.
        quick: d = 10⁶; nothing is stored.
    """
    d = 10**6 if quick else d
    noise = PublicNoise(seed, 1, 0)
    with tempfile.TemporaryDirectory(dir=place) as folder:
        path = Path(folder) / "theta"
        begin = time.perf_counter()
        positions = make(path, d, density, seed, noise)
        print(f"{len(positions):,} flips, made in {time.perf_counter() - begin:.0f} s", file=sys.stderr, flush=True)
        context = CodecContext(1, 0, cast(Theta, FileTheta(path, d)), noise, (0, d))
        rows = []
        for name in CODECS:
            rows.append(measure(name, positions, context))
            print(rows[-1], file=sys.stderr, flush=True)
    report = {"d": d, "flips": len(positions), "theta_bytes": 2 * d, "rows": rows}
    print(json.dumps(report, indent=1))
    store(report, None if quick else STORED)


if __name__ == "__main__":
    tyro.cli(main)
