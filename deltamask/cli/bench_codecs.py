"""`deltamask bench codecs`: what each codec costs in bytes, time and memory, for flips as training makes them."""

from __future__ import annotations

import ctypes
import gc
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyfusefilter
import xxhash
from rich.table import Table

from deltamask.cli.console import print_table as show_table
from deltamask.codecs import Codec, CodecContext, codecs
from deltamask.codecs.base import CHUNK
from deltamask.codecs.entropy import entropy_iid, entropy_side
from deltamask.masking.masks import ONE, SCORE_CLIP, Positions, Theta, flips, to_fixed
from deltamask.masking.noise import PublicNoise, generator

KEYS_ASKED = 200_000  # one key at a time takes about a microsecond each: the row says how many were asked
REPEAT_BELOW = 1 << 27  # below this d, times are the best of three: the machine has other work too

Row = dict[str, Any]


def synthetic_flips(d: int, density: float, seed: int) -> tuple[Positions, CodecContext]:
    """Flips as training makes them: θ_k = σ(logit θ_g + step), m = [u < θ], about density · d of them.

    Steps are Gaussian on the score, of one width for all positions, found by bisection on a sample. θ_g is spread
    around 0.95 and, as everywhere, clipped. Works chunk by chunk: 2 bytes a position stay.
    """
    if not 0 < density < 0.4:
        raise ValueError(f"density = {density}, must lie in (0, 0.4)")
    noise = PublicNoise(seed, 1, 0)
    table = np.clip(generator(seed, "bench theta").normal(2.9, 1.5, ONE), -SCORE_CLIP, SCORE_CLIP)

    def chunk(start: int, stop: int, width: float) -> tuple[Theta, Positions]:
        rng = generator(seed, "bench chunk", round=start // CHUNK)
        scores = table[rng.integers(0, ONE, stop - start, dtype=np.uint16)]
        steps = rng.standard_normal(stop - start, np.float32)
        client = np.clip(scores + width * steps, -SCORE_CLIP, SCORE_CLIP)
        theta = to_fixed(1 / (1 + np.exp(-scores)))
        return theta, flips(to_fixed(1 / (1 + np.exp(-client))), theta, noise.words(start, stop)) + start

    low, high, sample = 0.0, 40.0, min(d, CHUNK)
    for _ in range(14):
        middle = (low + high) / 2
        low, high = (middle, high) if len(chunk(0, sample, middle)[1]) < density * sample else (low, middle)
    theta, parts = np.empty(d, np.uint16), []
    for start in range(0, d, CHUNK):
        stop = min(d, start + CHUNK)
        theta[start:stop], found = chunk(start, stop, high)
        parts.append(found)
    return np.concatenate(parts), CodecContext(1, 0, theta, noise, (0, d))


class PeakMemory:
    """The most memory this process held inside a `with` block above what it held at its start, in `bytes`.

    On Linux this is resident memory by the kernel's own high-water mark, which sees C and compiled code as well;
    elsewhere Python's and NumPy's allocations.
    """

    def __enter__(self) -> PeakMemory:
        gc.collect()
        try:
            ctypes.CDLL("libc.so.6").malloc_trim(0)  # give back what is free, or it hides what is taken next
            Path("/proc/self/clear_refs").write_text("5")  # sets the high-water mark to the present size
            self._start: int | None = self._high_water()
        except OSError:
            self._start = None
            tracemalloc.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._start is not None:
            self.bytes = self._high_water() - self._start
        else:
            self.bytes = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()

    def _high_water(self) -> int:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024


def _timed(work: Callable[[], Any], repeats: int) -> tuple[Any, float]:
    """(result, seconds of the fastest run)."""
    best, result = float("inf"), None
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - start)
    return result, best


def measure(codec: Codec, positions: Positions, context: CodecContext, bounds: tuple[float, float]) -> Row:
    """One row of the table. bounds: (entropy_iid, entropy_side) in bits for all flips."""
    d = context.d
    with PeakMemory() as memory:
        payload, encode_seconds = _timed(lambda: codec.encode(positions, context), 1)
        decoded, decode_seconds = _timed(lambda: codec.decode(payload, context), 1)
    false_flips = len(decoded) - len(positions)
    del decoded
    if d < REPEAT_BELOW:
        encode_seconds = min(encode_seconds, _timed(lambda: codec.encode(positions, context), 2)[1])
        decode_seconds = min(decode_seconds, _timed(lambda: codec.decode(payload, context), 2)[1])
    return _row(codec.name, len(payload), positions, bounds) | {
        "false_flips": false_flips,
        "exact": codec.exact,
        "encode_ns_per_position": 1e9 * encode_seconds / d,
        "decode_ns_per_position": 1e9 * decode_seconds / d,
        "peak_bytes": memory.bytes,
    }


def _row(name: str, payload_bytes: int, positions: Positions, bounds: tuple[float, float]) -> Row:
    count = max(1, len(positions))
    return {
        "codec": name,
        "bytes": payload_bytes,
        "bits_per_flip": 8 * payload_bytes / count,
        "entropy_iid": bounds[0] / count,
        "entropy_side": bounds[1] / count,
    }


def one_key_at_a_time(positions: Positions, context: CodecContext, bounds: tuple[float, float]) -> Row:
    """The 8-bit filter as a user of pyfusefilter asks it: `key in filter`, for one key after the other.

    Only some keys are asked, spread evenly over d; the row's name says how many, and its false flips are those among
    them.
    """
    with _working_hash(), PeakMemory() as memory:
        start = time.perf_counter()
        filter = pyfusefilter.Fuse8(len(positions))
        filter.populate(positions.tolist())
        encode_seconds = time.perf_counter() - start
        asked = range(0, context.d, max(1, context.d // KEYS_ASKED))
        start = time.perf_counter()
        said_yes = [item for item in asked if item in filter]
        seconds = time.perf_counter() - start
    name = f"pyfusefilter, key by key ({len(asked):,} asked)"
    return _row(name, len(filter.serialize()), positions, bounds) | {
        "false_flips": len(np.setdiff1d(said_yes, positions)),
        "exact": False,
        "encode_ns_per_position": 1e9 * encode_seconds / context.d,
        "decode_ns_per_position": 1e9 * seconds / len(asked),
        "peak_bytes": memory.bytes,
    }


@contextmanager
def _working_hash() -> Iterator[None]:
    """pyfusefilter hashes str(key), which xxhash 4 refuses with TypeError: encode the text first."""
    module = sys.modules["pyfusefilter.pyfusefilter"]
    original = vars(module)["hash"]
    vars(module)["hash"] = lambda item: xxhash.xxh64_intdigest(str(item).encode())
    try:
        yield
    finally:
        vars(module)["hash"] = original


def bench_codecs(d: int, density: float, seed: int, names: Iterable[str] | None = None) -> list[Row]:
    """Every codec (or those in `names`) on the same flips, then the filter asked key by key. Entropies are bits a flip.

    peak_bytes: resident memory during one encode and decode, above the inputs (θ_g and the positions).
    """
    small, small_context = synthetic_flips(4096, density, seed)
    for name in codecs:  # compile first, so that the first row does not pay for it
        codecs[name].decode(codecs[name].encode(small, small_context), small_context)
    positions, context = synthetic_flips(d, density, seed)
    bounds = entropy_iid(len(positions), d), entropy_side(positions, context)
    rows = [measure(codecs[name], positions, context, bounds) for name in (codecs if names is None else names)]
    if names is None:
        rows.append(one_key_at_a_time(positions, context, bounds))
    return rows


def print_table(rows: list[Row]) -> None:
    """The rows for people."""
    first = rows[0]
    count = first["bytes"] * 8 / first["bits_per_flip"]
    table = Table(
        title=f"{count:,.0f} flips · entropy {first['entropy_iid']:.3f} bits a flip, "
        f"{first['entropy_side']:.3f} given the side information"
    )
    for heading in ("codec", "bytes", "bits/flip", "false", "exact", "encode ns/pos", "decode ns/pos", "peak MB"):
        table.add_column(heading, justify="left" if heading == "codec" else "right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["codec"],
            f"{row['bytes']:,}",
            f"{row['bits_per_flip']:.3f}",
            f"{row['false_flips']:,}",
            "yes" if row["exact"] else "no",
            f"{row['encode_ns_per_position']:.2f}",
            f"{row['decode_ns_per_position']:.2f}",
            f"{row['peak_bytes'] / 1e6:,.0f}",
        )
    show_table(table)
