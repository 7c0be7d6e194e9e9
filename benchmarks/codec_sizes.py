"""Bytes of every codec on the real flips of whole runs.

    python benchmarks/codec_sizes.py fashion fashion-unbiased fashion-paper [--rounds N] [--dump FOLDER]

    python benchmarks/codec_sizes.py digits bbc-news noniid-recipe one-block --rounds 10  # `gap` never saw these

    python benchmarks/codec_sizes.py --quick [--dump FOLDER]      # does it run? a round of 200 images, nothing written

Runs each preset again (same config and seed, so the same rounds as the recorded run), or a task of OTHERS, and encodes
what every client sends in every round with every codec, and with what anybody would reach for: xz, and where they are
installed (`pip install zstandard pyroaring`), zstd and roaring bitmaps. Prints a table of docs/codecs.md; its numbers
go to benchmarks/results/codec_sizes.json, or codec_sizes_others.json where not only presets were asked for.
"""

from __future__ import annotations

import lzma
import sys
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from flip_files import save_flips
from timing import RESULTS, store

from deltamask.codecs import CodecContext, codecs, gap
from deltamask.codecs.entropy import entropy_iid, entropy_side
from deltamask.codecs.wire.message import HEADER_BYTES
from deltamask.config import RunConfig
from deltamask.config.presets import preset
from deltamask.methods import deltamask as method
from deltamask.simulation.loop import simulate

TUNED = preset("fashion-gap")
OTHERS = {  # tasks that no preset has, and on whose flips nothing was fitted
    "digits": TUNED.replace(dataset="digits", train_samples=1200, test_samples=500),
    "one-block": TUNED.replace(masked_blocks=1),
}
SMALL = {"rounds": 1, "train_samples": 200, "test_samples": 50, "probe_epochs": 1}


def _varints(positions: np.ndarray) -> bytes:
    """Each gap in as many bytes of seven bits as it needs."""
    gaps = np.diff(positions, prepend=-1) - 1
    parts = [(gaps >> shift) & 127 for shift in range(0, 42, 7)]
    more = np.array([gaps >> shift > 0 for shift in range(7, 49, 7)])
    kept = np.vstack([np.ones(len(gaps), bool), more[:-1]])
    codes = np.array(parts) | more << 7
    return codes.T[kept.T].astype(np.uint8).tobytes()


def _shorter_of(compress: Callable[[bytes], bytes]) -> Callable[[np.ndarray, int], int]:
    """Bytes of the mask of flips or of their gaps, whichever `compress` makes smaller."""

    def size(positions: np.ndarray, d: int) -> int:
        mask = np.zeros(d, np.uint8)
        mask[positions] = 1
        return min(len(compress(np.packbits(mask).tobytes())), len(compress(_varints(positions))))

    return size


def general() -> dict[str, Callable[[np.ndarray, int], int]]:
    """Compressors that know nothing of flips: bytes of (positions, d), our header of 24 left out."""
    raw = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
    found = {"xz": _shorter_of(lambda data: lzma.compress(data, lzma.FORMAT_RAW, filters=raw))}
    with suppress(ImportError):
        import zstandard

        found["zstd"] = _shorter_of(zstandard.ZstdCompressor(level=19, write_content_size=False).compress)
    with suppress(ImportError):
        import pyroaring

        def roaring(positions: np.ndarray, d: int) -> int:
            bitmap = pyroaring.BitMap(positions)
            bitmap.run_optimize()
            return len(bitmap.serialize())

        found["roaring"] = roaring
    return found


def totals(name: str, config: RunConfig, dump: Path | None) -> dict[str, Any]:
    """Sums over all clients and rounds of a preset. dump: where to keep the flips for `gap_ideas.py`, `fit_gap.py`."""
    sums: defaultdict[str, float] = defaultdict(float)
    false: defaultdict[str, int] = defaultdict(int)
    wire, compressors = codecs[config.codec], general()

    class Spy:
        """The run's own codec, which also shows the flips to all others. The run goes on with what the server read."""

        name, suffix, exact = wire.name, wire.suffix, wire.exact

        def encode(self, positions: np.ndarray, context: CodecContext) -> bytes:
            for other in codecs:
                payload = codecs[other].encode(positions, context)
                sums[other] += len(payload)
                if not codecs[other].exact:
                    false[other] += len(codecs[other].decode(payload, context)) - len(positions)
            for other, size in compressors.items():
                sums[other] += size(positions, context.d)
            sums["flips"] += len(positions)
            sums["positions"] += context.d
            sums["entropy_iid_bits"] += entropy_iid(len(positions), context.d)
            sums["entropy_side_bits"] += entropy_side(positions, context)
            sums["gap_model_bits"] += gap.model_bits(positions, context)
            sums["gap_body_bits"] += 8 * (len(codecs["gap"].encode(positions, context)) - HEADER_BYTES)
            sums["messages"] += 1
            if dump:
                save_flips(dump, config.run_id, positions, context)
            return wire.encode(positions, context)

        def decode(self, payload: bytes, context: CodecContext) -> np.ndarray:
            return wire.decode(payload, context)

    original, method.codecs = method.codecs, {config.codec: Spy()}  # type: ignore[assignment]
    try:
        for record in simulate(config):
            print(f"{name}: round {record.round} of {config.rounds}", file=sys.stderr)
    finally:
        method.codecs = original
    return {
        "preset": name,
        "rounds": config.rounds,
        "seed": config.seed,
        "sums": dict(sums),
        "false_flips": dict(false),
    }


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: bits a flip and bytes as a share of bfuse8's, for each preset."""
    lines = ["| codec | " + " | ".join(f"{r['preset']}: bits a flip | of bfuse8 | false flips" for r in results) + " |"]
    lines.append("|---|" + "---|" * (3 * len(results)))
    for name in [*codecs, *(name for name in general() if all(name in r["sums"] for r in results))]:
        cells = []
        for result in results:
            sums = result["sums"]
            per_message = result["false_flips"].get(name, 0) / sums["messages"]
            share = sums[name] / sums["bfuse8"]
            cells.append(f"{8 * sums[name] / sums['flips']:.3f} | {share:.3f} | {per_message:,.1f}")
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    rows = (
        ("i.i.d. entropy", "entropy_iid_bits"),
        ("oracle table, not paid for", "entropy_side_bits"),
        ("`gap`'s own model", "gap_model_bits"),
    )
    for label, key in rows:
        cells = [
            f"{r['sums'][key] / r['sums']['flips']:.3f} | {r['sums'][key] / 8 / r['sums']['bfuse8']:.3f} | "
            for r in results
        ]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(
    presets: tyro.conf.Positional[tuple[str, ...]] = (), rounds: int = 0, dump: Path | None = None, quick: bool = False
) -> None:
    """Run presets and print the table.

    Args:
        presets: their names, and those of other tasks.
        rounds: fewer than the preset's.
        dump: a folder for the flips.
        quick: a round of 200 images of the preset `fashion`; nothing is written.
    """
    results: list[dict[str, Any]] = []
    file = "codec_sizes.json" if not OTHERS.keys() & set(presets) else "codec_sizes_others.json"
    for name in ("fashion",) if quick else presets:
        config = preset("fashion").replace(**SMALL) if quick else OTHERS.get(name) or preset(name)
        results.append(totals(name, config.replace(rounds=rounds or config.rounds), dump))
        store(results, None if quick else RESULTS / file)
    print(table(results))


if __name__ == "__main__":
    tyro.cli(main)
