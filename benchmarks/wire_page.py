"""How long a payload of 35 million positions takes to open on the Wire page, in a real browser.

    python benchmarks/wire_page.py [--folder runs-bench]

Makes a run folder whose payload is a fuse filter of synthetic flips, really encoded, beside its sidecar (the five last
blocks of a ViT-B/32, d = 35.4 M, 1 % flips); starts the dashboard on it; and measures from navigation to the moment
the picture is drawn, and to the moment the whole page stands still. Needs Chromium (CHROMIUM, or on the path).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from deltamask.cli.bench_codecs import synthetic_flips
from deltamask.codecs import CodecContext, codecs
from deltamask.config import RunConfig
from deltamask.masking.noise import PublicNoise
from deltamask.runs import client_flips
from deltamask.runs.folder import RunFolder, write_json

ROOT = Path(__file__).resolve().parent.parent
WIDTH, BLOCKS, DENSITY = 768, 5, 0.01


def make_run(folder: Path) -> int:
    """A run folder with two clients' payloads of round 1; returns d."""
    shapes = [(3 * WIDTH, WIDTH), (WIDTH, WIDTH), (4 * WIDTH, WIDTH), (WIDTH, 4 * WIDTH)]
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
        run.write_payload(1, client, client_flips.SUFFIX, client_flips.pack(flips, flips, at, 1, client))
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folder", type=Path, default=Path("runs-bench"), help="where the run is made; kept")
    folder = parser.parse_args().folder.absolute()
    if not (folder / "vit-payload" / "status.json").exists():
        make_run(folder / "vit-payload")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app/main.py", "--server.port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "DELTAMASK_RUNS": str(folder)})
    url = f"http://localhost:{port}/wire?run=vit-payload&round=1&client="
    found: dict[str, tuple[float, float]] = {}
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://localhost:{port}/_stcore/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        with sync_playwright() as playwright:
            path = os.environ.get("CHROMIUM") or shutil.which("chromium")
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport={"width": 1440, "height": 1000})
            page.set_default_timeout(300_000)
            found["first page of a new server"] = opening(page, url + "0")
            found["another payload"] = opening(page, url + "1")
            found["the same payload again"] = opening(page, url + "1")
            browser.close()
    finally:
        server.terminate()
        server.wait(10)
    print(json.dumps({"load average": os.getloadavg()[0], "cores": os.cpu_count()}))
    for name, (drawn, still) in found.items():
        print(f"{name:<28} picture {drawn:5.2f} s, whole page {still:5.2f} s")


if __name__ == "__main__":
    main()
