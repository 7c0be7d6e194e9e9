"""How long a payload of 35 million positions takes to open on the Wire page, in a real browser.

    python benchmarks/wire_page.py [--folder runs-bench]
    python benchmarks/wire_page.py --quick      # does it run? a small payload

Makes a run folder whose payload is a fuse filter of synthetic flips, really encoded, beside its sidecar (the five last
blocks of a ViT-B/32, d = 35.4 M, 1 % flips); starts the dashboard on it; and measures from navigation to the moment
the picture is drawn, and to the moment the whole page stands still. Needs Chromium (CHROMIUM, or on the path).
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path

import tyro
from playwright.sync_api import Page
from visitor import dashboard, visiting

from deltamask.cli.bench_codecs import synthetic_flips
from deltamask.codecs import CodecContext, codecs
from deltamask.config import RunConfig
from deltamask.masking.noise import PublicNoise
from deltamask.runs import client_flips, payloads
from deltamask.runs.folder import RunFolder, write_json

WIDTH, BLOCKS, DENSITY = 768, 5, 0.01
SMALL_WIDTH = 48
RUN = "vit-payload"


def make_run(folder: Path, width: int) -> int:
    """A run folder with two clients' payloads of round 1, for blocks of `width` channels; returns d."""
    shapes = [(3 * width, width), (width, width), (4 * width, width), (width, 4 * width)]
    layers, at = [], 0
    for block in range(BLOCKS):
        for name, shape in zip(("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"), shapes, strict=True):
            size = shape[0] * shape[1]
            layers.append({"name": f"{block}.{name}", "start": at, "stop": at + size, "shape": list(shape)})
            at += size
    config = RunConfig(rounds=1, clients=2, keep_payloads="all", train_samples=100)
    run = RunFolder.create(folder, config)
    write_json(folder / "task.json", {"d": at, "layers": layers, "classes": [], "label_counts": []})
    flips, context = synthetic_flips(at, DENSITY, 0)
    lines = []
    for client in range(2):
        noise = PublicNoise(config.seed, 1, client)
        payload = codecs["bfuse8"].encode(flips, CodecContext(1, client, context.theta, noise))
        run.write_payload(1, client, ".png", payload)
        run.write_payload(1, client, payloads.SIDE_SUFFIX, client_flips.pack(flips, flips, at, 1, client))
        lines.append({"client": client, "uplink_bytes": len(payload), "kept": len(flips), "false_flips": None})
    run.append({"round": 0, "clients": [], "seconds": {}, "bpp_up": 0.0, "bpp_down": 0.0, "accuracy": 0.0})
    run.append({"round": 1, "clients": lines, "seconds": {}, "bpp_up": 0.0, "bpp_down": 0.0, "accuracy": 0.0})
    run.write_status(state="finished")
    print(f"d = {at:,}, {len(flips):,} flips, payload of {len(payload):,} bytes")
    return at


def opening(page: Page, url: str) -> tuple[float, float]:
    """Seconds from navigation until (the picture is drawn, the page stands still)."""
    begun = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.locator("canvas[data-ready]").wait_for()
    drawn = time.perf_counter() - begun
    page.get_by_text("Break it", exact=True).wait_for()
    page.get_by_test_id("stStatusWidget").wait_for(state="detached")
    return drawn, time.perf_counter() - begun


def main(folder: Path = Path("runs-bench"), quick: bool = False) -> None:
    """Make the run if it is not there, and open its payloads.

    Args:
        folder: where the run is made; kept.
        quick: a small payload, in a folder that is not kept.
    """
    with tempfile.TemporaryDirectory() as passing:
        runs = Path(passing) if quick else folder
        if not (runs / RUN / "status.json").exists():
            make_run(runs / RUN, SMALL_WIDTH if quick else WIDTH)
        found: dict[str, tuple[float, float]] = {}
        with dashboard(runs) as (_, address), visiting() as page:
            page.set_default_timeout(300_000)
            url = f"{address}/wire?run={RUN}&round=1&client="
            found["first page of a new server"] = opening(page, url + "0")
            found["another payload"] = opening(page, url + "1")
            found["the same payload again"] = opening(page, url + "1")
    print(json.dumps({"load average": os.getloadavg()[0], "cores": os.cpu_count()}))
    for name, (drawn, still) in found.items():
        print(f"{name:<28} picture {drawn:5.2f} s, whole page {still:5.2f} s")


if __name__ == "__main__":
    tyro.cli(main)
