"""How fast the dashboard answers: `python benchmarks/dashboard.py > benchmarks/results/dashboard.json`

Fills a store with 200 runs of 100 rounds, made of the recorded runs' own rounds, opens the pages in headless Chromium
and times what a visitor waits for, with the processor time that server and browser spent on it: that says what it takes on
a machine that is busy otherwise. `--soak 300` then watches a run that grows by four rounds a second for 300 s, and
samples the server's memory and the page's heap.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from deltamask.store import RunFolder, list_runs, recorded_dir, write_json

RUNS, ROUNDS, TRIES = 200, 100, 9
WAIT = 60_000  # ms


def fill(store: Path, runs: int, rounds: int) -> None:
    """Copies of recorded runs, each with a seed of its own and its rounds repeated up to `rounds`."""
    recorded = list_runs(recorded_dir())
    for index in range(runs):
        source = recorded[index % len(recorded)]
        folder = store / f"{source.id}-{index:03d}"
        folder.mkdir(parents=True)
        config = {**source.config.model_dump(), "seed": index, "rounds": rounds}
        created = f"2024-01-01T{index // 60:02d}:{index % 60:02d}:00+00:00"
        write_json(folder / "config.json", {"config": config, "created": created})
        shutil.copy(source.path / "task.json", folder / "task.json")
        write_json(folder / "status.json", {"state": "finished", "round": rounds})
        with open(folder / "rounds.jsonl", "w") as file:
            for round in range(rounds + 1):
                file.write(json.dumps(record_of(source, round)) + "\n")
        (folder / "payloads").mkdir()
        for payload in source.payloads():
            os.link(payload.path, folder / "payloads" / payload.path.name)


def record_of(source: Any, round: int) -> dict[str, Any]:
    """A recorded round under another number."""
    after = source.records[1:]
    return {**(source.records[0] if round == 0 else after[(round - 1) % len(after)]), "round": round}


def start_server(store: Path) -> tuple[subprocess.Popen[bytes], str, float]:
    """(process, address, seconds until it answers)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    begun = time.perf_counter()
    environment = {**os.environ, "DELTAMASK_RUNS": str(store)}
    command = [sys.executable, "-m", "streamlit", "run", "app/main.py", "--server.port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while True:
        try:
            urllib.request.urlopen(f"http://localhost:{port}/_stcore/health", timeout=1).close()
            return server, f"http://localhost:{port}", time.perf_counter() - begun
        except OSError:
            time.sleep(0.05)


def timed(act: Callable[[], None], page: Page, condition: str) -> float:
    """Seconds from an action to the page's saying so, as the browser sees it."""
    begun = time.perf_counter()
    act()
    page.wait_for_function(condition, timeout=WAIT, polling="raf")
    return time.perf_counter() - begun


def quiet(page: Page) -> None:
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=WAIT)
    page.wait_for_timeout(400)


def first_paint(page: Page, url: str) -> float:
    """From asking for the address to the first chart with points."""
    drawn = "() => document.querySelector('.js-plotly-plot .scatterlayer .trace, .js-plotly-plot .bars')"
    return timed(lambda: page.goto(url, wait_until="commit") and None, page, drawn)  # type: ignore[func-returns-value]


def controls(page: Page, url: str, tries: int) -> dict[str, list[float]]:
    """Each control turned several times. What counts is the last thing that changes on the page because of it."""
    page.goto(f"{url}/?run=fashion&compare=fashion,fashion-paper,fashion-gap,fashion-unbiased,fashion-fedpm")
    page.wait_for_selector(".js-plotly-plot", timeout=WAIT)
    quiet(page)
    taken: dict[str, list[float]] = {}

    def turn(name: str, act: Callable[[], None], condition: str) -> None:
        taken.setdefault(name, []).append(timed(act, page, condition))
        quiet(page)

    for step in range(1, tries + 1):
        for slider, field in (("κ, share of flips sent", "kappa"), ("Participation ρ", "rho")):
            page.get_by_role("slider", name=slider).focus()
            value = f"{1 - step / 100:.2f}".rstrip("0")
            turn(
                f"{field} slider",
                lambda: page.keyboard.press("ArrowLeft"),
                f"() => location.search.includes('{field}={value}')",
            )
        page.get_by_role("slider", name="Dirichlet α").focus()
        before = page.locator(".js-plotly-plot").first.evaluate("plot => JSON.stringify(plot.data[0].z)")
        turn(
            "α slider and label split", lambda: page.keyboard.press("ArrowLeft" if step % 2 else "ArrowRight"),
            f"() => JSON.stringify(document.querySelector('.js-plotly-plot').data[0].z) != {before!r}",
        )  # fmt: skip
        page.get_by_role("slider", name="Round").focus()
        last = 60 - step
        turn(
            "round slider, every panel", lambda: page.keyboard.press("ArrowLeft"),
            f"() => document.body.innerText.includes('Round {last}: what') && "
            "[...document.querySelectorAll('.js-plotly-plot')].filter(plot => (plot.layout.shapes || [])"
            f".some(shape => shape.x0 == {last})).length >= 4",
        )  # fmt: skip
        way = ("Downlink", "Uplink")[step % 2 == 0]
        words = ("downlink", "uplink")[step % 2 == 0]
        turn(
            "bits up or down", lambda way=way: page.get_by_role("radio", name=way).click(),
            "() => [...document.querySelectorAll('.js-plotly-plot .xtitle')].some(title => "
            f"title.textContent.startsWith('{words} so far'))",
        )  # fmt: skip
    return taken


def soak(page: Page, url: str, store: Path, server: psutil.Process, seconds: int) -> list[dict[str, float]]:
    """A page open on a run that grows; one sample every tenth of the time."""
    source = next(run for run in list_runs(recorded_dir()) if run.config.method == "deltamask")
    rounds = 4 * seconds + 100
    folder = RunFolder.create(store / "soak", source.config.replace(rounds=min(10_000, rounds), seed=999))
    shutil.copy(source.path / "task.json", folder.path / "task.json")
    folder.append(record_of(source, 0))
    progress = {"what": "round 1", "done": 0, "total": 5}
    folder.write_status(state="running", round=0, progress=progress)
    page.goto(f"{url}/?run=soak")
    page.wait_for_selector(".js-plotly-plot", timeout=WAIT)
    session = page.context.new_cdp_session(page)
    samples, begun, round = [], time.monotonic(), 0
    while (passed := time.monotonic() - begun) < seconds:
        round += 1
        folder.append(record_of(source, round))
        folder.write_status(state="running", round=round, progress=progress)
        if passed >= len(samples) * seconds / 10:
            session.send("HeapProfiler.collectGarbage")
            heap = session.send("Runtime.getHeapUsage")["usedSize"] / 1e6
            rss = server.memory_info().rss / 1e6
            samples.append(
                {"s": round_(passed), "round": round, "server_mb": round_(rss), "page_heap_mb": round_(heap)}
            )
            print(samples[-1], file=sys.stderr, flush=True)
        page.wait_for_timeout(250)
    folder.write_status(state="stopped", round=round)
    return samples


def round_(value: float) -> float:
    return round(value, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--tries", type=int, default=TRIES)
    parser.add_argument("--soak", type=int, default=0, help="seconds")
    options = parser.parse_args()
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory(dir=ROOT) as place, sync_playwright() as playwright:
        store = Path(place) / "runs"
        fill(store, options.runs, options.rounds)
        process, url, up = start_server(store)
        server = psutil.Process(process.pid)
        report: dict[str, Any] = {"runs": options.runs, "rounds": options.rounds, "server_up_s": round(up, 2)}
        try:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_context(viewport={"width": 1440, "height": 1600}).new_page()
            report["first_paint_s"] = round(first_paint(page, url), 2)
            report["next_paint_s"] = round(first_paint(page, f"{url}/?again=1"), 2)
            report["load_average"] = round_(os.getloadavg()[0])
            taken = controls(page, url, options.tries)
            report["controls_ms"] = {
                name: {"median": round(1000 * statistics.median(times)), "worst": round(1000 * max(times))}
                for name, times in taken.items()
            }
            report["server_mb"] = round_(server.memory_info().rss / 1e6)
            if options.soak:
                report["soak"] = soak(page, url, store, server, options.soak)
            browser.close()
        finally:
            process.terminate()
            process.wait(10)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
