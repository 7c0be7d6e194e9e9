"""Time and memory of every codec from d = 10⁴ to 10⁹: data for docs/codecs.md and its plot.

    python benchmarks/codec_scale.py [--largest 1e9] [--density 0.01] [--seed 0]
    python benchmarks/codec_scale.py --plot        # draws docs/codec_scale.svg from the stored results
    python benchmarks/codec_scale.py --quick       # does it run? d = 10⁴ alone, nothing written

Each d runs in a process of its own, so that its peak resident memory (inputs and all) can be read afterwards.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro
from timing import RESULTS, apart, peak_bytes, store

from deltamask.cli.bench_codecs import bench_codecs
from deltamask.codecs import codecs

if TYPE_CHECKING:
    import plotly.graph_objects as go

STORED = RESULTS / "codec_scale.json"
PLOT = Path(__file__).parent.parent / "docs" / "codec_scale.svg"
SHOWN = {"bfuse8": "#0072b2", "bfuse32": "#56b4e9", "gap": "#d55e00", "rice": "#009e73", "mask": "#999999"}
Row = dict[str, Any]


def measure(d: int, density: float, seed: int) -> Row:
    """The rows of the codec benchmark at one d, without the key-by-key row."""
    start = time.perf_counter()
    rows = bench_codecs(d, density, seed, list(codecs))
    return {"d": d, "rows": rows, "process_peak_bytes": peak_bytes(), "seconds": time.perf_counter() - start}


def draw(results: list[Row]) -> go.Figure:
    """Two panels side by side, both axes logarithmic."""
    from plotly.subplots import make_subplots  # not in the processes whose memory is measured

    figure = make_subplots(cols=2, subplot_titles=("encode + decode, seconds", "peak memory above inputs, bytes"))
    for name, colour in SHOWN.items():
        rows = [(r["d"], next(row for row in r["rows"] if row["codec"] == name)) for r in results]
        ds = [d for d, _ in rows]
        seconds = [d * (row["encode_ns_per_position"] + row["decode_ns_per_position"]) / 1e9 for d, row in rows]
        memory = [max(row["peak_bytes"], 1 << 16) for _, row in rows]
        line = {"color": colour}
        figure.add_scatter(x=ds, y=seconds, name=name, line=line, mode="lines+markers", row=1, col=1)
        figure.add_scatter(x=ds, y=memory, name=name, line=line, mode="lines+markers", showlegend=False, row=1, col=2)
    figure.add_annotation(
        text="density 1 %; memory below 64 KiB is drawn at 64 KiB",
        xref="paper",
        yref="paper",
        x=0,
        y=-0.22,
        showarrow=False,
    )
    figure.update_xaxes(type="log", title="d, positions", dtick=1, exponentformat="power")
    figure.update_yaxes(type="log", dtick=1, exponentformat="power")
    figure.update_layout(template="plotly_white", width=1000, height=420, margin={"l": 60, "r": 20, "t": 40, "b": 80})
    return figure


def main(
    largest: float = 1e9, density: float = 0.01, seed: int = 0, only_d: int = 0, plot: bool = False, quick: bool = False
) -> None:
    """Measure, store and draw.

    Args:
        largest: the largest d.
        density: flips, as a share of d.
        seed: of the flips.
        only_d: measure this d alone, in this process, and print it.
        plot: draw what is stored; measure nothing.
        quick: d = 10⁴ alone; nothing is written.
    """
    if only_d:
        print(json.dumps(measure(only_d, density, seed)))
        return
    if plot:
        draw(json.loads(STORED.read_text())).write_image(PLOT)
        return
    results: list[Row] = []
    for d in (10**power for power in range(4, 5 if quick else 10)):
        if d <= largest:
            results.append(apart(__file__, f"--only-d={d}", f"--density={density}", f"--seed={seed}"))
            print(f"d = {d:,}: {results[-1]['seconds']:.0f} s", file=sys.stderr)
            store(results, None if quick else STORED)
    figure = draw(results)
    if not quick:
        figure.write_image(PLOT)


if __name__ == "__main__":
    tyro.cli(main)
