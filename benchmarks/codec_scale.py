"""Time and memory of every codec from d = 10⁴ to 10⁹: data for docs/codecs.md and its plot.

    python benchmarks/codec_scale.py [--largest 1e9] [--density 0.01] [--seed 0]
    python benchmarks/codec_scale.py --plot        # draws docs/codec_scale.svg from the stored results

Each d runs in a process of its own, so that its peak resident memory (inputs and all) can be read afterwards.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "codec_scale.json"
PLOT = Path(__file__).parent.parent / "docs" / "codec_scale.svg"
SHOWN = {"bfuse8": "#0072b2", "bfuse32": "#56b4e9", "gap": "#d55e00", "rice": "#009e73", "mask": "#999999"}


def one(d: int, density: float, seed: int) -> dict:
    """One d: the rows of the benchmark, without the key-by-key row."""
    from deltamask.cli.bench_codecs import bench_codecs
    from deltamask.codecs import codecs

    start = time.perf_counter()
    rows = bench_codecs(d, density, seed, list(codecs))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"d": d, "rows": rows, "process_peak_bytes": peak, "seconds": time.perf_counter() - start}


def plot(results: list[dict]) -> None:
    """Two panels side by side, both axes logarithmic."""
    from plotly.subplots import make_subplots

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
    figure.write_image(PLOT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--largest", type=float, default=1e9)
    parser.add_argument("--density", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--one", type=int, default=None, help="this d alone, in this process")
    parser.add_argument("--plot", action="store_true")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one, options.density, options.seed)))
        return
    if not options.plot:
        results = []
        for power in range(4, 10):
            if 10**power <= options.largest:
                command = [sys.executable, __file__, f"--one={10**power}"]
                command += [f"--density={options.density}", f"--seed={options.seed}"]
                results.append(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout))
                print(f"d = 10^{power}: {results[-1]['seconds']:.0f} s", file=sys.stderr)
                RESULTS.parent.mkdir(exist_ok=True)
                RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    plot(json.loads(RESULTS.read_text()))


if __name__ == "__main__":
    main()
